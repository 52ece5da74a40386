//! `cluster` where there is no cluster, or none can start.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::thalweg::Thalweg;

#[test]
fn a_directory_that_is_no_cluster_is_left_alone() {
    let thalweg = Thalweg::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let path = folder.path().to_str().unwrap();

    let stop = thalweg.run(&["cluster", "stop", "--data-dir", path]);
    let delete = thalweg.run(&["cluster", "delete", "--yes", "--data-dir", path]);
    let start = thalweg.run(&["cluster", "start", "--data-dir", path]);

    assert_eq!((stop.status, delete.status, start.status), (3, 3, 2));
    assert!(
        delete.stderr.contains("is not the directory of a cluster"),
        "{}",
        delete.stderr
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn delete_wants_a_yes_where_nobody_can_be_asked() {
    let thalweg = Thalweg::new();
    let folder = tempfile::tempdir().unwrap();
    let state = r#"{"format_version":1,"sc":{"port":0,"process":null},"spus":[]}"#;
    fs::write(folder.path().join("cluster.json"), state).unwrap();
    let path = folder.path().to_str().unwrap();

    let refused = thalweg.run(&["cluster", "delete", "--data-dir", path]);
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert!(folder.path().exists());

    let deleted = thalweg.run(&["cluster", "delete", "--yes", "--data-dir", path]);
    assert_eq!(deleted.status, 0, "{}", deleted.stderr);
    assert!(!folder.path().exists());
}

#[test]
fn a_server_that_does_not_start_shows_the_end_of_its_log() {
    let thalweg = Thalweg::new();
    let programs = thalweg.folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for name in ["thalweg-sc", "thalweg-spu"] {
        let program = programs.join(name);
        fs::write(
            &program,
            "#!/bin/sh\necho 'no more ports on this earth' >&2\nexit 7\n",
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    let outcome: crate::thalweg::Outcome = thalweg
        .command(&["cluster", "start"])
        .env("THALWEG_BIN_DIR", &programs)
        .output()
        .unwrap()
        .into();

    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.contains("no more ports on this earth"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("exit status: 7"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("sc.log"), "{}", outcome.stderr);
}

#[test]
fn programs_that_are_missing_are_named_with_where_they_were_looked_for() {
    let thalweg = Thalweg::new();
    let empty = thalweg.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();

    let outcome: crate::thalweg::Outcome = thalweg
        .command(&["cluster", "start"])
        .env("THALWEG_BIN_DIR", &empty)
        .output()
        .unwrap()
        .into();

    assert_eq!(outcome.status, 3);
    assert!(outcome.stderr.contains("thalweg-sc"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains(empty.to_str().unwrap()),
        "{}",
        outcome.stderr
    );
}
