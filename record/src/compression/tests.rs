//! Every codec round trips, keeps to the bound, and takes no claim for granted.

use std::io::Write;

use proptest::prelude::*;

use super::*;

const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

#[test]
fn a_bomb_is_refused_at_the_bound() {
    let zeros = vec![0; 32 << 20];
    for codec in COMPRESSED {
        let bomb = compress(codec, &zeros);

        let refused = decompress(codec, &bomb, 1 << 20);

        let limit_bytes = 1 << 20;
        assert_eq!(refused, Err(BatchError::TooLarge { codec, limit_bytes }));
    }
}

#[test]
fn the_bound_itself_is_allowed_and_one_byte_more_is_not() {
    let text = b"round and round ".repeat(10_000);
    for codec in Codec::ALL {
        let packed = compress(codec, &text);

        assert_eq!(decompress(codec, &packed, text.len()).as_ref(), Ok(&text));
        assert_eq!(
            decompress(codec, &packed, text.len() - 1),
            Err(BatchError::TooLarge {
                codec,
                limit_bytes: text.len() - 1
            })
        );
    }
}

#[test]
fn output_never_takes_more_memory_than_the_bound() {
    let text = b"round and round ".repeat(10_000);
    let limit = text.len() + 100;
    for codec in Codec::ALL {
        let unpacked = decompress(codec, &compress(codec, &text), limit).unwrap();

        assert!(unpacked.capacity() <= limit, "{codec}");
    }
}

#[test]
fn a_raw_snappy_block_without_javas_framing_is_read() {
    let text = b"librdkafka and franz-go send it so ".repeat(100);
    let raw = snap::raw::Encoder::new().compress_vec(&text).unwrap();

    assert_eq!(decompress(Codec::Snappy, &raw, 1 << 20).as_ref(), Ok(&text));
}

#[test]
fn a_snappy_block_that_lies_about_its_length_costs_no_memory() {
    // The varint says 2 GiB less one byte, and five bytes follow it.
    let raw = [0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3, 4, 5];

    let refused = decompress(Codec::Snappy, &raw, usize::MAX).unwrap_err();

    assert!(matches!(refused, BatchError::Decompress { .. }));
}

#[test]
fn a_zstd_frame_with_a_huge_window_or_content_size_costs_no_memory() {
    // Descriptor 0xc0: eight bytes of content size. Window 2^41 and more. One raw block of 3 bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0xff];
    frame.extend_from_slice(&u64::MAX.to_le_bytes());
    frame.extend_from_slice(&[0x19, 0, 0, b'a', b'b', b'c']);

    let refused = decompress(Codec::Zstd, &frame, usize::MAX).unwrap_err();

    assert!(matches!(refused, BatchError::Decompress { .. }));
}

#[test]
fn zstd_without_a_content_size_is_read_as_javas_clients_stream_it() {
    let text = b"java streams and does not know the size ".repeat(20_000);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    for chunk in text.chunks(1000) {
        encoder.write_all(chunk).unwrap();
    }
    let streamed = encoder.finish().unwrap();

    assert_eq!(decompress(Codec::Zstd, &streamed, text.len()), Ok(text));
}

#[test]
fn frames_one_after_the_other_are_one_text() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut frames = compress(codec, b"first, ");
        frames.extend(compress(codec, b"second"));

        let text = decompress(codec, &frames, 100);

        assert_eq!(text.as_deref(), Ok(b"first, second".as_slice()), "{codec}");
    }
}

#[test]
fn a_linked_lz4_frame_with_checksums_is_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let text = b"some clients link their blocks ".repeat(20_000);
    let info = FrameInfo::new()
        .block_mode(BlockMode::Linked)
        .block_size(BlockSize::Max64KB)
        .block_checksums(true)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&text).unwrap();
    let frame = encoder.finish().unwrap();

    assert_eq!(decompress(Codec::Lz4, &frame, text.len()), Ok(text));
}

proptest! {
    #[test]
    fn every_codec_round_trips(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        times in 0_usize..2000,
    ) {
        let text = bytes.repeat(times);
        for codec in Codec::ALL {
            let packed = compress(codec, &text);
            let unpacked = decompress(codec, &packed, text.len());
            prop_assert_eq!(unpacked.as_ref(), Ok(&text), "{}", codec);
        }
    }

    #[test]
    fn rubbish_neither_panics_nor_passes_the_bound(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        spoiled_at: prop::sample::Index,
        spoiled_by in 1_u8..,
    ) {
        for codec in Codec::ALL {
            if let Ok(unpacked) = decompress(codec, &bytes, 1000) {
                prop_assert!(unpacked.len() <= 1000);
            }
            let mut packed = compress(codec, &bytes);
            if !packed.is_empty() {
                let position = spoiled_at.index(packed.len());
                packed[position] ^= spoiled_by;
            }
            if let Ok(unpacked) = decompress(codec, &packed, 1000) {
                prop_assert!(unpacked.len() <= 1000);
            }
        }
    }

    #[test]
    fn rubbish_behind_a_magic_neither_panics_nor_passes_the_bound(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let magics: [(Codec, &[u8]); 4] = [
            (Codec::Gzip, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
            (Codec::Snappy, &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0]),
            (Codec::Lz4, &[0x04, 0x22, 0x4d, 0x18]),
            (Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
        ];
        for (codec, magic) in magics {
            let packed = [magic, &bytes].concat();
            if let Ok(unpacked) = decompress(codec, &packed, 1000) {
                prop_assert!(unpacked.len() <= 1000);
            }
        }
    }
}
