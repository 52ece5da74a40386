//! Profiles, without a cluster behind them.

use crate::thalweg::Thalweg;

#[test]
fn profiles_are_added_used_renamed_and_deleted() {
    let thalweg = Thalweg::new();
    let add = |name, address| {
        let outcome = thalweg.run(&[
            "profile",
            "add",
            name,
            address,
            "--bootstrap",
            "127.0.0.1:9005",
        ]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    };
    let current = || thalweg.run(&["profile", "current"]).stdout;

    add("one", "127.0.0.1:1");
    add("two", "127.0.0.1:2");
    assert_eq!(current(), "two\n");

    assert_eq!(thalweg.run(&["profile", "use", "one"]).status, 0);
    assert_eq!(current(), "one\n");

    assert_eq!(
        thalweg.run(&["profile", "rename", "one", "first"]).status,
        0
    );
    assert_eq!(current(), "first\n");

    assert_eq!(thalweg.run(&["profile", "delete", "first"]).status, 0);
    assert_eq!(thalweg.run(&["profile", "current"]).status, 3);
    let list = thalweg.run(&["profile", "list", "--output", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list[0]["name"], "two");
    assert_eq!(list[0]["bootstrap"][0], "127.0.0.1:9005");
}

#[test]
fn a_profile_that_does_not_exist_ends_with_3_and_one_that_exists_with_4() {
    let thalweg = Thalweg::new();
    let add = [
        "profile",
        "add",
        "one",
        "127.0.0.1:1",
        "--bootstrap",
        "127.0.0.1:2",
    ];

    assert_eq!(thalweg.run(&["profile", "use", "one"]).status, 3);
    assert_eq!(
        thalweg.run(&["topic", "list", "--profile", "one"]).status,
        3
    );
    assert_eq!(thalweg.run(&add).status, 0);
    assert_eq!(thalweg.run(&add).status, 4);
}
