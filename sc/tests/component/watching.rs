//! Clients that watch.

use thalweg_proto::v1::watch_event::Event;
use thalweg_proto::v1::{DeleteTopicRequest, WatchEvent, WatchRequest};
use thalweg_types::resource::{Resource, ResourceKey};
use tonic::Streaming;

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, within};

async fn next(watch: &mut Streaming<WatchEvent>) -> Event {
    let event = within("the watch tells something", watch.message()).await;
    event.unwrap().expect("the watch goes on").event.unwrap()
}

#[tokio::test]
async fn a_watch_tells_all_there_is_then_where_that_ends_then_changes() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("first", 1, 1).await.unwrap();
    let mut watch = sc
        .admin()
        .watch(WatchRequest {})
        .await
        .unwrap()
        .into_inner();

    let mut snapshot = Vec::new();
    loop {
        match next(&mut watch).await {
            Event::Upserted(row) => {
                snapshot.push(Resource::try_from(row).unwrap().key().to_string())
            }
            Event::SnapshotEnd(_) => break,
            Event::Deleted(key) => panic!("{key:?} in a snapshot"),
        }
    }
    assert_eq!(snapshot, ["topic `first`", "partition `first-0`", "SPU 0"]);

    sc.create_topic("second", 1, 1).await.unwrap();
    let Event::Upserted(row) = next(&mut watch).await else {
        panic!("a creation is an upsert");
    };
    assert_eq!(
        Resource::try_from(row).unwrap().key().to_string(),
        "topic `second`"
    );

    let name = "second".to_owned();
    sc.admin()
        .delete_topic(DeleteTopicRequest { name })
        .await
        .unwrap();
    let topic = ResourceKey::Topic("second".parse().unwrap());
    loop {
        if let Event::Deleted(key) = next(&mut watch).await
            && ResourceKey::try_from(key).unwrap() == topic
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_when_the_sc_stops() {
    let mut sc = TestSc::start().await;
    let mut watch = sc
        .admin()
        .watch(WatchRequest {})
        .await
        .unwrap()
        .into_inner();

    sc.stop().await;

    while let Ok(Some(_)) = within("the watch ends", watch.message()).await {}
}
