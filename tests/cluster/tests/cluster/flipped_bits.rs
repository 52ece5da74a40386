//! A bit that flips on the disk while the SPU is down: what it changed is never served, the error
//! names it, and other partitions go on.

use std::path::{Path, PathBuf};

use thalweg_tests_cluster::{LocalCluster, eventually};

/// Flips a bit of the one place under `folder` where `text` stands.
fn flip_bit_in(folder: &Path, text: &str) {
    let mut folders = vec![folder.to_owned()];
    let mut flipped: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(position) = found {
                bytes[position] ^= 0x20;
                std::fs::write(&path, bytes).unwrap();
                flipped.push(path);
            }
        }
    }
    assert_eq!(flipped.len(), 1, "`{text}` is in {flipped:?}");
}

/// Appends a line as a batch of its own.
fn produce(cluster: &LocalCluster, partition: &str, line: &str) -> std::process::Output {
    let path = cluster.path("line.txt");
    std::fs::write(&path, line).unwrap();
    let path = path.to_string_lossy();
    cluster.thalweg(&["produce", "t", "-p", partition, "--file", &path])
}

/// Flips a bit in the line `damaged` of partition 0 while the SPU is down, and checks what comes
/// of it.
async fn is_never_served(damaged: &str, before_it: &str) {
    let mut cluster = LocalCluster::start(1).await;
    cluster.create_topic("t", 2, &[]).await;
    for line in ["alpha", "bravo", "charlie"] {
        for partition in ["0", "1"] {
            let line = format!("{line}-{partition}");
            assert!(produce(&cluster, partition, &line).status.success());
        }
    }
    let status = cluster.take_spu(0).stop().unwrap();
    assert!(status.success());

    flip_bit_in(&cluster.path("spu-0"), damaged);
    cluster.start_spu(0);
    cluster.all_online().await;

    // However often it is asked.
    for _ in 0..2 {
        let hit = cluster.thalweg(&["consume", "t", "-B", "-d", "-p", "0"]);
        let errors = String::from_utf8(hit.stderr).unwrap();
        assert!(!hit.status.success(), "{errors}");
        assert!(errors.contains("`t-0`"), "{errors}");
        let served = String::from_utf8(hit.stdout).unwrap();
        assert!(before_it.starts_with(&served), "{served}");
    }
    let log = cluster.spu(0).log_text();
    assert!(log.contains("checksum"), "{log}");
    eventually("the partition says why nobody leads it", || async {
        let listed = cluster.thalweg(&["partition", "list", "t"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        let why = listed
            .lines()
            .find(|line| line.starts_with("t-0 is offline: "))?;
        why.contains("checksum").then_some(())
    })
    .await;
    let other = cluster.thalweg(&["consume", "t", "-B", "-d", "-p", "1"]);
    assert_eq!(other.stdout, b"alpha-1\nbravo-1\ncharlie-1\n");
    let appended = produce(&cluster, "1", "delta-1");
    assert!(appended.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_the_first_batch_is_never_served() {
    is_never_served("alpha-0", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_the_middle_is_never_served() {
    is_never_served("bravo-0", "alpha-0\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_the_last_batch_is_never_served_nor_cut_off() {
    is_never_served("charlie-0", "alpha-0\nbravo-0\n").await;
}
