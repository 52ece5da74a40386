//! Frames, versions, order, and what is no request at all.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use thalweg_wire::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use thalweg_wire::{StrBytes, decode_response, tags};

use crate::setup::{TestSpu, batch, fetch, fetch_request, produce_request, values_of};

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;

    // API 18, version 99, correlation id 5, no client id, no tags, and what version 99 may hold.
    client
        .send_bytes(&[
            0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0x00, 0xcd,
        ])
        .await;

    let frame = client.frame().await.unwrap();
    let response = decode_response::<ApiVersionsRequest>(0, frame).unwrap();
    assert_eq!(response.error_code, 35);
    assert!(
        response
            .api_keys
            .iter()
            .any(|api| api.api_key == 18 && api.max_version == 4)
    );
}

#[tokio::test]
async fn only_our_own_clients_are_told_of_streams_and_of_the_cluster() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let ask = |name: &'static str| {
        ApiVersionsRequest::default().with_client_software_name(StrBytes::from_static_str(name))
    };

    let theirs = client.call(&ask("librdkafka"), 3).await;
    let ours = client.call(&ask("thalweg"), 3).await;

    assert!(theirs.api_keys.iter().all(|api| api.api_key < 20000));
    assert_eq!(
        ours.api_keys
            .iter()
            .filter(|api| api.api_key >= 20000)
            .count(),
        2
    );
    let cluster = spu.spu.context().view.current().cluster_id;
    assert!(cluster.is_some());
    assert_eq!(tags::cluster_id(&ours.unknown_tagged_fields), cluster);
    assert_eq!(tags::cluster_id(&theirs.unknown_tagged_fields), None);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let mut sent = Vec::new();
    for index in 0..20 {
        let request = produce_request("t", 0, batch(&[&format!("value {index}")]));
        sent.push((0, client.send(&request, 9).await));
        sent.push((3, client.send(&MetadataRequest::default(), 12).await));
        sent.push((1, client.send(&fetch_request(0), 12).await));
    }

    for (index, (api, id)) in sent.into_iter().enumerate() {
        match api {
            0 => {
                let response = client.receive::<ProduceRequest>(id, 9).await;
                let partition = &response.responses[0].partition_responses[0];
                assert_eq!(partition.error_code, 0);
                assert_eq!(partition.base_offset, i64::try_from(index / 3).unwrap());
            }
            1 => drop(client.receive::<FetchRequest>(id, 12).await),
            _ => drop(client.receive::<MetadataRequest>(id, 12).await),
        }
    }
    let all = fetch(&mut client, &fetch_request(0)).await;
    let expected: Vec<_> = (0..20).map(|index| format!("value {index}")).collect();
    assert_eq!(values_of(&all), expected);
}

#[tokio::test]
async fn what_is_no_request_ends_the_connection_and_nothing_else() {
    let spu = TestSpu::start().await;
    let hostile: [&[u8]; 7] = [
        // A frame of 2 GiB, and one of a negative length.
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        // Nothing at all in a frame.
        &[0, 0, 0, 0],
        // An API that nobody knows, and one that is not spoken here.
        &[0, 0, 0, 10, 0x13, 0x88, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 10, 0, 28, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        // Metadata of 2^31 - 1 topics.
        &[
            0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff,
        ],
        // Produce version 9 of 2^32 - 2 topics.
        &[
            0, 0, 0, 23, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 1, 0xff,
            0xff, 0xff, 0xff, 0x0f,
        ],
    ];

    for bytes in hostile {
        let mut client = spu.client().await;
        client.send_bytes(bytes).await;
        client.assert_hung_up().await;
    }

    let mut client = spu.client().await;
    client.call(&MetadataRequest::default(), 12).await;
}

#[tokio::test]
async fn random_requests_never_bring_the_spu_down() {
    let spu = TestSpu::start().await;
    let mut runner = TestRunner::deterministic();
    let bodies = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    let apis = [
        0_i16, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 32, 33, 37, 42,
        44, 47, 60, 68, 69, 20000, 20001,
    ];
    for round in 0..20 {
        for api in apis {
            let body = bodies.new_tree(&mut runner).unwrap().current();
            let mut frame = Vec::new();
            frame.extend_from_slice(&u32::try_from(body.len() + 10).unwrap().to_be_bytes());
            frame.extend_from_slice(&api.to_be_bytes());
            frame.extend_from_slice(&i16::to_be_bytes(round % 13));
            frame.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
            frame.extend_from_slice(&body);
            let mut client = spu.client().await;
            client.send_bytes(&frame).await;
            drop(client);
        }
    }

    let mut client = spu.client().await;
    client.call(&MetadataRequest::default(), 12).await;
}
