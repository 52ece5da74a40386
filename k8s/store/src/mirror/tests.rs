//! What the mirror makes of what it hears, in whatever order it hears it.

use serde_json::{Value, json};

use super::*;

const TOPIC_ID: &str = "00000000-0000-0000-0000-000000000007";

/// A topic's object as the API server has it at `version`.
fn object(name: &str, uid: &str, version: u64, more: Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": "thalweg.dev/v1alpha1",
        "kind": "Topic",
        "metadata": {
            "name": name,
            "uid": uid,
            "resourceVersion": version.to_string(),
            "generation": 1,
            "finalizers": ["thalweg.dev/sc"],
        },
        "spec": {"id": TOPIC_ID, "partitions": 1},
    });
    merge(&mut object, more);
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn plain(version: u64) -> DynamicObject {
    object("flights", "a", version, json!({}))
}

fn heard(mirror: &mut Mirror, object: &DynamicObject) -> Option<WatchEvent> {
    mirror.heard(ResourceKind::Topic, object).unwrap()
}

fn version_told(event: Option<WatchEvent>) -> u64 {
    match event {
        Some(WatchEvent::Upserted(row)) => row.version().0,
        other => panic!("{other:?} tells of no row"),
    }
}

fn place() -> Place {
    (ResourceKind::Topic, "flights".to_owned())
}

fn is_deletion(event: Option<WatchEvent>) -> bool {
    matches!(event, Some(WatchEvent::Deleted(ResourceKey::Topic(name))) if name.as_str() == "flights")
}

#[test]
fn a_change_is_told_once_however_often_it_is_heard() {
    let mut mirror = Mirror::default();

    assert_eq!(version_told(heard(&mut mirror, &plain(5))), 5);
    assert_eq!(heard(&mut mirror, &plain(5)), None);
    assert_eq!(
        heard(&mut mirror, &plain(4)),
        None,
        "a watch that is behind"
    );
    assert_eq!(version_told(heard(&mut mirror, &plain(9))), 9);
}

#[test]
fn what_this_process_has_deleted_does_not_come_back_by_a_watch_that_is_behind() {
    let mut mirror = Mirror::default();
    heard(&mut mirror, &plain(5));

    assert!(is_deletion(mirror.deleted(&place())));

    assert_eq!(heard(&mut mirror, &plain(6)), None);
    assert_eq!(mirror.heard_end(ResourceKind::Topic, "flights", "a"), None);
    let again = object("flights", "b", 8, json!({}));
    assert_eq!(
        version_told(heard(&mut mirror, &again)),
        8,
        "another of that name"
    );
}

#[test]
fn the_end_of_a_former_object_does_not_end_its_successor() {
    let mut mirror = Mirror::default();
    heard(&mut mirror, &object("flights", "b", 8, json!({})));

    assert_eq!(mirror.heard_end(ResourceKind::Topic, "flights", "a"), None);

    assert_eq!(mirror.rows().len(), 1);
    assert!(is_deletion(mirror.heard_end(
        ResourceKind::Topic,
        "flights",
        "b"
    )));
}

#[test]
fn a_list_ends_what_it_lacks_but_not_what_is_newer_than_it() {
    let mut mirror = Mirror::default();
    heard(&mut mirror, &object("old", "a", 5, json!({})));
    heard(&mut mirror, &object("new", "b", 12, json!({})));
    heard(&mut mirror, &object("kept", "c", 6, json!({})));

    let kept = object("kept", "c", 7, json!({}));
    let (events, unreadable) = mirror.listed(ResourceKind::Topic, &[kept], ResourceVersion(10));

    assert_eq!(unreadable, []);
    assert_eq!(events.len(), 2, "{events:?}");
    let names: Vec<_> = mirror
        .rows()
        .into_keys()
        .map(|key| key.to_string())
        .collect();
    assert_eq!(names, ["topic `kept`", "topic `new`"]);
}

#[test]
fn a_topic_that_was_applied_is_no_row_until_it_is_adopted() {
    let mut mirror = Mirror::default();
    let mut applied = plain(5);
    applied.metadata.finalizers = None;
    applied.data["spec"] = json!({"partitions": 3});

    assert_eq!(heard(&mut mirror, &applied), None);
    assert_eq!(mirror.chores(9), [(place(), Chore::Adopt)]);

    assert_eq!(version_told(heard(&mut mirror, &plain(6))), 6);
    assert_eq!(mirror.chores(9), []);
}

#[test]
fn a_topic_that_kubectl_deletes_is_being_deleted_and_one_that_was_let_go_is_gone() {
    let mut mirror = Mirror::default();
    heard(&mut mirror, &plain(5));
    let marked = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});

    let event = heard(&mut mirror, &object("flights", "a", 6, marked.clone()));
    let Some(WatchEvent::Upserted(Resource::Topic(topic))) = event else {
        panic!("{event:?} tells of no topic");
    };
    assert_eq!(topic.status.state, TopicState::Deleting);

    let mut let_go = object("flights", "a", 7, marked);
    let_go.metadata.finalizers = Some(vec!["example.com/other".to_owned()]);
    assert!(is_deletion(heard(&mut mirror, &let_go)));
}

#[test]
fn an_object_that_can_not_be_read_leaves_its_row_as_it_was() {
    let mut mirror = Mirror::default();
    heard(&mut mirror, &plain(5));

    let bad = object(
        "flights",
        "a",
        6,
        json!({"spec": {"config": {"retention.ms": "soon"}}}),
    );
    let error = mirror.heard(ResourceKind::Topic, &bad).unwrap_err();

    assert!(error.to_string().contains("retention.ms"), "{error}");
    assert_eq!(mirror.rows().len(), 1);
    let (_, unreadable) = mirror.listed(ResourceKind::Topic, &[bad], ResourceVersion(10));
    assert_eq!(unreadable, [error]);
    assert_eq!(mirror.rows().len(), 1, "also when all are listed");
}

#[test]
fn an_object_under_a_wrong_name_is_told_so_once() {
    let mut mirror = Mirror::default();
    let wrong = json!({"spec": {"topicName": "Flights"}});

    assert_eq!(
        heard(&mut mirror, &object("flights", "a", 5, wrong.clone())),
        None
    );
    let chores = mirror.chores(9);
    let [(_, Chore::Refuse { reason, message })] = &chores[..] else {
        panic!("{chores:?}");
    };
    assert_eq!(*reason, "WrongName");
    assert!(message.contains("`flights-x"), "{message}");

    let mut told = object("flights", "a", 6, wrong);
    told.data["status"] = json!({"state": "Refused", "conditions": [{
        "type": "Ready", "status": "False", "reason": "WrongName", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }]});
    heard(&mut mirror, &told);
    assert_eq!(mirror.chores(9), []);
}

#[test]
fn a_spec_that_others_changed_is_acknowledged_and_one_that_asks_for_more_is_pending() {
    let mut mirror = Mirror::default();
    let settled = json!({"status": {
        "state": "Provisioned", "partitions": 1, "replicationFactor": 1, "observedGeneration": 1,
    }});
    heard(&mut mirror, &object("flights", "a", 5, settled.clone()));
    assert_eq!(mirror.chores(9), []);

    let mut changed = object("flights", "a", 6, settled.clone());
    changed.metadata.generation = Some(2);
    changed.data["spec"]["config"] = json!({"retention.ms": 1000});
    assert_eq!(version_told(heard(&mut mirror, &changed)), 6);
    assert_eq!(mirror.chores(9), [(place(), Chore::Acknowledge)]);

    let mut grown = object("flights", "a", 7, settled);
    grown.metadata.generation = Some(3);
    grown.data["spec"]["partitions"] = json!(4);
    let event = heard(&mut mirror, &grown);
    let Some(WatchEvent::Upserted(Resource::Topic(topic))) = event else {
        panic!("{event:?} tells of no topic");
    };
    assert_eq!(
        topic.status.state,
        TopicState::Pending,
        "its partitions are to be made"
    );
    assert_eq!(mirror.chores(9), [], "its new state will acknowledge it");
}
