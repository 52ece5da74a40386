//! A full disk: read-only with a clear error, and healed by itself once there is room.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use thalweg_client::{ProduceError, Producer, ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, eventually, read_back};

/// A file system of a fixed size, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, size: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "thalweg-test"])
            .arg(path)
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting a tmpfs needs root");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The SPU may still have it open; lazily, then.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn may_mount() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the full-disk test needs root to mount a small tmpfs, and nothing may be skipped in CI"
    );
    eprintln!("skipped: mounting a small tmpfs needs root");
    false
}

async fn produce(producer: &Producer, number: u64, padding: usize) -> Result<(), ProduceError> {
    let text = "0".repeat(padding) + &number.to_string();
    producer
        .send(ProducerRecord::new(text.as_bytes()))
        .await?
        .await
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_keeps_what_it_has_and_heals_once_there_is_room() {
    if !may_mount() {
        return;
    }
    let mut cluster = LocalCluster::start(0).await;
    let data_dir = cluster.path("spu-0");
    let _disk = SmallDisk::mount(&data_dir, "8m");
    let ballast = data_dir.join("ballast");
    std::fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    cluster.start_spu(0);
    cluster.all_online().await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let client = cluster.client().await;
    let options = ProducerOptions {
        delivery_timeout: Duration::from_secs(2),
        ..ProducerOptions::default()
    };

    let mut stored = 0;
    let error = loop {
        let producer = client.producer(&topic, options.clone()).await.unwrap();
        match produce(&producer, stored, 100_000).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the disk never filled");
    };
    assert!(stored > 10, "the disk was full from the start");
    assert!(
        cluster.spu(0).log_text().contains("disk is full"),
        "produce failed with {error}, and the log does not say why"
    );
    let read = read_back(&client, &topic).await;
    assert!(read.values().map(Vec::len).sum::<usize>() as u64 >= stored);

    std::fs::remove_file(&ballast).unwrap();
    eventually("the partition heals", || async {
        let producer = client.producer(&topic, options.clone()).await.ok()?;
        produce(&producer, 1_000_000, 10).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_starts_on_a_full_disk_and_has_everything_once_there_is_room() {
    if !may_mount() {
        return;
    }
    let mut cluster = LocalCluster::start(0).await;
    let data_dir = cluster.path("spu-0");
    let _disk = SmallDisk::mount(&data_dir, "8m");
    cluster.start_spu(0);
    cluster.all_online().await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    for number in 0..10 {
        produce(&producer, number, 100).await.unwrap();
    }
    let stored = read_back(&client, &topic).await;
    let ballast = data_dir.join("ballast");

    // After a crash, and after an end that had to be noted on the full disk.
    for crashes in [true, false] {
        fill(&ballast);
        let spu = cluster.take_spu(0);
        if crashes {
            spu.kill();
        } else {
            assert!(spu.stop().unwrap().success());
        }
        fill(&ballast);
        cluster.start_spu(0);
        cluster.all_online().await;
    }

    std::fs::remove_file(&ballast).unwrap();
    eventually("the partition has a leader", || async {
        let described = client.admin().describe_topic(&topic).await.ok()?;
        described.partitions[0].status.leader
    })
    .await;
    eventually("the partition takes records again", || async {
        let producer = client.producer(&topic, ProducerOptions::default());
        produce(&producer.await.ok()?, 10, 100).await.ok()
    })
    .await;
    let mut read = read_back(&client, &topic).await;
    for partition in read.values_mut() {
        partition.retain(|(_, number)| *number < 10);
    }
    assert_eq!(read, stored);
}

/// Writes to a file until its disk has no room left.
fn fill(path: &Path) {
    let mut file = std::fs::File::options();
    let mut file = file.create(true).append(true).open(path).unwrap();
    for chunk_bytes in [64 << 10, 4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; chunk_bytes]).is_ok() {}
    }
}
