//! The cluster of one round: one SC and its SPUs, each on an address of its own, and what harms them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use thalweg_client::{Client, ClientOptions};
use thalweg_tests_cluster::Node;

use crate::faults::Place;
use crate::network::{Network, address, namespace};
use crate::sandbox::{Reach, run};

/// The size of an SPU's disk, where it is to fill up.
const SMALL_DISK: &str = "size=96m";

/// Processes that can be killed, paused and started again where they were.
#[derive(Debug)]
pub(crate) struct HarmedCluster {
    folder: PathBuf,
    spu_count: i32,
    network: Option<Network>,
    nodes: BTreeMap<Place, Node>,
    paused: Vec<Place>,
    /// `HOST:PORT` of each, once it has started.
    addresses: BTreeMap<Place, String>,
    small_disks: bool,
    /// Where the programs lie that processes are made of until they are upgraded, if those are others.
    old_programs: Option<PathBuf>,
    upgraded: BTreeSet<Place>,
}

impl HarmedCluster {
    /// Starts all processes, with their files and logs in `folder`.
    ///
    /// # Errors
    /// When one can't be started.
    pub(crate) fn start(
        folder: &Path,
        spu_count: i32,
        reach: Reach,
        small_disks: bool,
        old_programs: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let network = match reach {
            Reach::All => Some(Network::new(spu_count)?),
            Reach::ProcessesOnly => None,
        };
        let mut cluster = Self {
            folder: folder.to_owned(),
            spu_count,
            network,
            nodes: BTreeMap::new(),
            paused: Vec::new(),
            addresses: BTreeMap::new(),
            small_disks: small_disks && reach == Reach::All,
            old_programs,
            upgraded: BTreeSet::new(),
        };
        for id in 0..spu_count {
            cluster.make_disk(id)?;
        }
        cluster.start_missing()?;
        Ok(cluster)
    }

    /// The numbers of its SPUs.
    pub(crate) fn spus(&self) -> impl Iterator<Item = i32> + use<> {
        0..self.spu_count
    }

    /// Where an SPU keeps its files.
    #[must_use]
    pub(crate) fn data_dir(&self, spu: i32) -> PathBuf {
        self.folder.join(format!("spu-{spu}"))
    }

    /// A client that knows the SC and every SPU, and shares nothing with others.
    ///
    /// # Errors
    /// When an address can't be one.
    pub(crate) async fn client(&self, name: &str) -> anyhow::Result<Client> {
        let mut options = ClientOptions::new(&self.addresses[&Place::Sc]);
        options.client_id = name.to_owned();
        options.bootstrap = self
            .spus()
            .map(|id| self.addresses[&Place::Spu(id)].clone())
            .collect();
        Ok(Client::connect(options).await?)
    }

    /// Kills a process; nothing where it does not run.
    pub(crate) fn kill(&mut self, place: Place) {
        self.paused.retain(|paused| *paused != place);
        if let Some(node) = self.nodes.remove(&place) {
            node.kill();
        }
    }

    /// Asks a process to end, and waits until it has. It may be paused: then it is killed.
    ///
    /// # Errors
    /// When it ends otherwise than well.
    pub(crate) fn stop(&mut self, place: Place) -> anyhow::Result<()> {
        if self.paused.contains(&place) {
            self.kill(place);
        }
        if let Some(node) = self.nodes.remove(&place) {
            let status = node.stop()?;
            anyhow::ensure!(
                status.success(),
                "{place} was asked to end and ended with {status}"
            );
        }
        Ok(())
    }

    /// Restarts every process, one after the other, each when the one before is back. They are of this build
    /// from then on.
    ///
    /// # Errors
    /// When one ends otherwise than well. One that does not come up again yet, healing starts.
    pub(crate) fn restart_all(&mut self) -> anyhow::Result<()> {
        for place in self.spus().map(Place::Spu).chain([Place::Sc]) {
            self.stop(place)?;
            self.upgraded.insert(place);
            drop(self.start_node(place));
        }
        Ok(())
    }

    /// Stops a process from running.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub(crate) fn pause(&mut self, place: Place) -> anyhow::Result<()> {
        if let Some(node) = self.nodes.get(&place) {
            node.pause()
                .with_context(|| format!("{place} ended by itself"))?;
            self.paused.push(place);
        }
        Ok(())
    }

    /// Lets a process run on that was paused.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub(crate) fn resume(&mut self, place: Place) -> anyhow::Result<()> {
        self.paused.retain(|paused| *paused != place);
        self.nodes.get(&place).map_or(Ok(()), Node::resume)
    }

    /// The network, where it is the cluster's own.
    pub(crate) fn network(&mut self) -> Option<&mut Network> {
        self.network.as_mut()
    }

    /// Takes all room on an SPU's disk.
    ///
    /// # Errors
    /// When the disk does not fill up.
    pub(crate) fn fill_disk(&self, spu: i32) -> anyhow::Result<()> {
        anyhow::ensure!(self.small_disks, "the disk of SPU {spu} is the machine's");
        let mut ballast = File::create(self.ballast(spu))?;
        let zeros = vec![0; 64 << 10];
        while ballast.write_all(&zeros).is_ok() {}
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When the ballast can't be removed.
    pub(crate) fn empty_disk(&self, spu: i32) -> anyhow::Result<()> {
        let ballast = self.ballast(spu);
        if ballast.exists() {
            std::fs::remove_file(ballast)?;
        }
        Ok(())
    }

    fn ballast(&self, spu: i32) -> PathBuf {
        self.data_dir(spu).join("ballast")
    }

    /// Undoes all harm: every process runs, every line is whole and every disk has room.
    ///
    /// # Errors
    /// When a process does not start again.
    pub(crate) fn heal(&mut self) -> anyhow::Result<()> {
        for place in std::mem::take(&mut self.paused) {
            self.resume(place)?;
        }
        if let Some(network) = &mut self.network {
            let places = network.places().to_vec();
            for from in &places {
                network.hurry(*from)?;
                for to in places.iter().filter(|to| *to != from) {
                    network.mend(*from, *to)?;
                }
            }
        }
        for spu in self.spus() {
            self.empty_disk(spu)?;
        }
        self.start_missing()
    }

    /// Starts every process that does not run.
    ///
    /// # Errors
    /// When one does not come up: with its log.
    pub(crate) fn start_missing(&mut self) -> anyhow::Result<()> {
        self.start_node(Place::Sc)?;
        for id in self.spus() {
            self.start_node(Place::Spu(id))?;
        }
        Ok(())
    }

    /// Starts a process where it was before, unless it runs.
    ///
    /// # Errors
    /// When it does not come up: with its log.
    pub(crate) fn start_node(&mut self, place: Place) -> anyhow::Result<()> {
        if self.nodes.contains_key(&place) {
            return Ok(());
        }
        let (program, name) = match place {
            Place::Clients => return Ok(()),
            Place::Sc => ("thalweg-sc", "sc".to_owned()),
            Place::Spu(id) => ("thalweg-spu", format!("spu-{id}")),
        };
        let mut arguments = vec![
            format!("--listen={}", self.listen_address(place)),
            format!("--data-dir={}", self.folder.join(&name).display()),
        ];
        if let Place::Spu(id) = place {
            arguments.extend([
                format!("--id={id}"),
                format!("--sc={}", self.addresses[&Place::Sc]),
                // So that a follower that is cut off from its leader alone holds nobody up for long.
                "--replica-lag-max=3s".to_owned(),
                // A round is over soon.
                "--group-initial-rebalance-delay=500ms".to_owned(),
            ]);
        }
        let log = self.folder.join(format!("{name}.log"));
        let program = match &self.old_programs {
            Some(folder) if !self.upgraded.contains(&place) => folder.join(program),
            _ => program.into(),
        };
        let program = program.to_string_lossy();
        let node = match self.network.as_ref().and_then(|_| namespace(place)) {
            Some(namespace) => Node::start_in(&namespace, &program, &arguments, &log),
            None => Node::start(&program, &arguments, &log),
        }?;
        let field = if place == Place::Sc { "admin" } else { "data" };
        self.addresses
            .insert(place, node.ready_field(field).to_owned());
        self.nodes.insert(place, node);
        Ok(())
    }

    fn listen_address(&self, place: Place) -> String {
        match (self.addresses.get(&place), &self.network) {
            (Some(known), _) => known.clone(),
            (None, Some(_)) => format!("{}:9000", address(place)),
            (None, None) => "127.0.0.1:0".to_owned(),
        }
    }

    fn make_disk(&self, spu: i32) -> anyhow::Result<()> {
        let path = self.data_dir(spu);
        std::fs::create_dir_all(&path)?;
        if self.small_disks {
            let path = path.to_string_lossy();
            run(&[
                "mount",
                "-t",
                "tmpfs",
                "-o",
                SMALL_DISK,
                "thalweg-nemesis",
                &path,
            ])?;
        }
        Ok(())
    }
}

impl Drop for HarmedCluster {
    fn drop(&mut self) {
        self.nodes.clear();
        if self.small_disks {
            for spu in self.spus() {
                let path = self.data_dir(spu);
                // What can't be unmounted goes with the sandbox.
                let _ = run(&["umount", "--lazy", &path.to_string_lossy()]);
            }
        }
    }
}
