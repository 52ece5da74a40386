//! Every fuzz target over seeds and damaged forms of them, the same ones in every run.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use thalweg_smartengine::SmartModuleKind;
use thalweg_smartmodule_abi::{Header, InputHeader, write_params, write_record};
use thalweg_tests_decoders::{
    guest_answer, guest_input, guest_params, guest_records, module_loader, open_stream, stream_tags,
};
use thalweg_tests_hostile::{honest, texts};
use thalweg_wire::{ModuleSource, OpenStreamRequest, StreamPurpose, StreamStep, encode_request};

/// What is done to a seed: bytes are overwritten, some are left out, some are put in.
#[derive(Debug, Clone)]
struct Damage {
    overwritten: Vec<(prop::sample::Index, u8)>,
    cut: Option<(prop::sample::Index, u8)>,
    inserted: Option<(prop::sample::Index, Vec<u8>)>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0, 1, 0x7f, 0x80, 0xff])
    ];
    (
        prop::collection::vec((any::<prop::sample::Index>(), byte), 0..6),
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        prop::option::of((
            any::<prop::sample::Index>(),
            prop::collection::vec(any::<u8>(), 1..12),
        )),
    )
        .prop_map(|(overwritten, cut, inserted)| Damage {
            overwritten,
            cut,
            inserted,
        })
}

impl Damage {
    fn of(&self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for (index, byte) in &self.overwritten {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
        }
        if let Some((index, count)) = &self.cut {
            let start = index.index(bytes.len() + 1);
            let end = (start + usize::from(*count)).min(bytes.len());
            bytes.drain(start..end);
        }
        if let Some((index, more)) = &self.inserted {
            let at = index.index(bytes.len() + 1);
            bytes.splice(at..at, more.iter().copied());
        }
        bytes
    }
}

/// Runs `target` over each seed and over `count` damaged forms of them.
fn run(seeds: &[Vec<u8>], count: u32, target: fn(&[u8])) {
    seeds.iter().for_each(|seed| target(seed));
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    };
    let inputs = (prop::sample::select(seeds.to_vec()), damage());
    TestRunner::new_with_rng(config, rng)
        .run(&inputs, |(seed, damage)| {
            target(&damage.of(&seed));
            Ok(())
        })
        .unwrap();
}

fn records(deltas: &[i64]) -> Vec<u8> {
    let mut section = Vec::new();
    for &delta in deltas {
        write_record(
            &mut section,
            5,
            delta,
            Some(b"key"),
            Some(b"value"),
            [].into_iter(),
        );
    }
    section
}

#[test]
fn modules_load_or_are_refused() {
    let mut seeds: Vec<_> = texts()
        .unwrap()
        .into_iter()
        .map(|module| module.wasm)
        .filter(|wasm| wasm.len() < 4_096)
        .collect();
    seeds.push(honest().unwrap());

    run(&seeds, 2_000, module_loader);
}

#[test]
fn a_module_damaged_in_one_byte_loads_or_is_refused() {
    let honest = honest().unwrap();
    for at in 0..honest.len() {
        for byte in [0x00, 0x01, 0x0b, 0x7f, 0x80, 0xff] {
            let mut damaged = honest.clone();
            damaged[at] = byte;
            module_loader(&damaged);
        }
    }
}

#[test]
fn no_answer_of_a_guest_gets_the_better_of_its_host() {
    let seeds: Vec<_> = SmartModuleKind::ALL
        .into_iter()
        .zip(0..)
        .flat_map(|(kind, index)| (0..3).map(move |policy| (kind, index, policy)))
        .map(|(kind, index, policy)| {
            // Which kind, three records more than one, what becomes of failed ones; then nothing but
            // likely numbers, of which the last is the output's length, and the output.
            let mut seed = vec![index, 3, policy, 0, 0, 0, 0, 0, 0, 0, 1, 0];
            seed.extend(match kind {
                SmartModuleKind::Filter => vec![0b1111],
                _ => records(&[0, 1, 2, 3]),
            });
            seed
        })
        .collect();
    for seed in &seeds {
        assert_eq!(guest_answer(seed), 4, "{seed:?}");
    }

    // A map whose third record has the offset of its second, as other damage than the run's found it.
    let mut repeats = vec![1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    repeats.extend(records(&[0, 1, 1, 3]));
    assert_eq!(guest_answer(&repeats), 4);

    run(&seeds, 6_000, |bytes| {
        guest_answer(bytes);
    });
}

#[test]
fn inputs_records_and_parameters_are_read_or_refused() {
    let mut section = records(&[0, 1, 5]);
    let name = Header {
        name: b"name",
        value: None,
    };
    write_record(&mut section, -1, 9, None, None, [name].into_iter());
    let header = InputHeader {
        record_count: 4,
        records_position: 64,
        records_bytes: section.len() as u32,
        accumulator_position: 64,
        accumulator_bytes: 5,
        ..InputHeader::default()
    };
    let input = [&header.encode()[..], &section].concat();
    let params = write_params([("minutes", "60"), ("", "x")].into_iter());

    run(&[section], 20_000, guest_records);
    run(&[input], 20_000, guest_input);
    run(&[params], 20_000, guest_params);
}

#[test]
fn requests_and_tags_are_read_or_refused() {
    let mut step = StreamStep::new("a", ModuleSource::Wasm(b"\0asm".as_slice().into()));
    step.params.insert("k".to_owned(), "v".to_owned());
    let named = StreamStep::new("b", ModuleSource::Registered("b@1".to_owned()));
    let request = OpenStreamRequest::new(StreamPurpose::Consume, vec![step, named]);
    let seeds: Vec<_> = [0, 1]
        .into_iter()
        .map(|version| {
            let frame = encode_request(&request, version, 1, "seed").unwrap();
            let (_, message) = thalweg_wire::decode_request_header(&frame.slice(4..)).unwrap();
            BytesMut::from(&message[..]).to_vec()
        })
        .collect();

    // A topic without anything else that needs version 1, as a fuzzer found it.
    let topic_alone = b"\0\0\0\x020\0\0".to_vec();
    open_stream(&topic_alone);
    run(&seeds, 20_000, open_stream);
    run(&[vec![], vec![0; 8], records(&[0, 2])], 20_000, stream_tags);
}
