//! The cluster of one run: its hosts in the simulation, and what harms them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thalweg_types::SpuId;
use turmoil::Sim;

use crate::faults::{Fault, Place, Shape};
use crate::run::RunOptions;
use crate::sc_host::{self, ScHost};
use crate::spu_host::SpuHost;
use crate::storage_work::DiskPace;

/// How long a message is under way at most, where nothing is slow.
pub(crate) const LATENCY_MAX: Duration = Duration::from_millis(4);

/// All hosts of a run but those of clients.
pub(crate) struct Cluster {
    spus: Vec<Arc<SpuHost>>,
    /// Who does not run because of the harm.
    down: BTreeSet<Place>,
    client_hosts: usize,
    /// What power losses took, for people.
    pub(crate) lost_files: usize,
    /// How many bits have flipped, for people.
    pub(crate) flipped_bits: usize,
}

impl Cluster {
    /// Puts an SC and SPUs into `sim`, with their files in the current folder.
    #[must_use]
    pub(crate) fn start(sim: &mut Sim<'_>, shape: Shape, options: &RunOptions) -> Self {
        let sc = ScHost::new();
        sim.host(sc_host::NAME, move || {
            let sc = Arc::clone(&sc);
            async move {
                sc.run().await;
                Ok(())
            }
        });
        let spus: Vec<_> = (0..shape.spus)
            .map(|id| {
                SpuHost::new(
                    i32::try_from(id).unwrap_or(i32::MAX),
                    options.seed,
                    options.lying_disks,
                )
            })
            .collect();
        for spu in &spus {
            let host = Arc::clone(spu);
            sim.host(spu.name(), move || {
                let host = Arc::clone(&host);
                async move {
                    host.run().await;
                    Ok(())
                }
            });
        }
        Self {
            spus,
            down: BTreeSet::new(),
            client_hosts: shape.clients,
            lost_files: 0,
            flipped_bits: 0,
        }
    }

    /// The hosts of the SPUs.
    #[must_use]
    pub(crate) fn spus(&self) -> &[Arc<SpuHost>] {
        &self.spus
    }

    fn name(&self, place: Place) -> String {
        match place {
            Place::Clients(number) => format!("clients-{number}"),
            Place::Sc => sc_host::NAME.to_owned(),
            Place::Spu(number) => self.spus[number].name(),
        }
    }

    fn places(&self) -> Vec<Place> {
        let spus = (0..self.spus.len()).map(Place::Spu);
        let clients = (0..self.client_hosts).map(Place::Clients);
        spus.chain(clients).chain([Place::Sc]).collect()
    }

    /// Does harm. Processes must be harmed before the network is.
    ///
    /// # Errors
    /// When the run's own folder can't be written.
    pub(crate) fn harm(&mut self, sim: &mut Sim<'_>, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(place) => self.kill(sim, place),
            Fault::PowerOff(spu) => self.power_off(sim, spu)?,
            Fault::PowerOffWhole(spu) if self.is_whole(spu) => self.power_off(sim, spu)?,
            Fault::PowerOffWhole(spu) => self.kill(sim, Place::Spu(spu)),
            Fault::PowerOffAll => {
                for spu in 0..self.spus.len() {
                    self.power_off(sim, spu)?;
                }
            }
            Fault::Stop(spu) => {
                if self.down.insert(Place::Spu(spu)) {
                    self.spus[spu].ask_to_stop();
                }
            }
            Fault::CutOneWay(from, to) => sim.partition_oneway(self.name(from), self.name(to)),
            Fault::Cut(one, other) => sim.partition(self.name(one), self.name(other)),
            Fault::Hold(one, other) => sim.hold(self.name(one), self.name(other)),
            Fault::Isolate(spu) => {
                for other in self.places() {
                    if other != Place::Spu(spu) {
                        sim.partition(self.name(Place::Spu(spu)), self.name(other));
                    }
                }
            }
            Fault::Slow(one, other, ms) => {
                let latency = Duration::from_millis(ms);
                sim.set_link_max_message_latency(self.name(one), self.name(other), latency);
            }
            Fault::FillDisk(spu, room_bytes) => self.spus[spu].disk.set_room(Some(room_bytes)),
            Fault::SlowDisk(spu, ms) => self.spus[spu].pace.set_longest(Duration::from_millis(ms)),
            Fault::FailSyncs(spu) => self.spus[spu].disk.set_fails_syncs(true),
            Fault::FlipBit(spu) => {
                let folders = self.whole_partitions(spu);
                self.kill(sim, Place::Spu(spu));
                self.flipped_bits += usize::from(self.spus[spu].disk.flip_bit(&folders)?);
            }
            Fault::Skew(spu, ms) => self.spus[spu].clock.set_ahead(ms),
        }
        Ok(())
    }

    /// Undoes a step's harm, and starts who does not run.
    pub(crate) fn undo(&mut self, sim: &mut Sim<'_>, faults: &[Fault]) {
        let places = self.places();
        for (index, one) in places.iter().enumerate() {
            for other in &places[index + 1..] {
                let (one, other) = (self.name(*one), self.name(*other));
                sim.release(one.clone(), other.clone());
                sim.repair(one.clone(), other.clone());
                sim.set_link_max_message_latency(one, other, LATENCY_MAX);
            }
        }
        for spu in &self.spus {
            spu.disk.set_room(None);
            spu.disk.set_fails_syncs(false);
            spu.pace.set_longest(DiskPace::FAST);
            spu.clock.set_ahead(0);
        }
        for fault in faults {
            if let Fault::FailSyncs(spu) = fault {
                self.kill(sim, Place::Spu(*spu));
            }
        }
        for place in std::mem::take(&mut self.down) {
            // One that was asked to end may be about to: it has had its time.
            self.kill(sim, place);
            self.down.remove(&place);
            sim.bounce(self.name(place));
        }
    }

    /// Whether all partitions of an SPU have all of their replicas in sync, as it has heard.
    fn is_whole(&self, spu: usize) -> bool {
        let held = self.partitions_held(spu);
        !held.is_empty() && held.iter().all(|(_, is_whole)| *is_whole)
    }

    /// The folders of an SPU's partitions that have all of their replicas in sync, as it has heard.
    fn whole_partitions(&self, spu: usize) -> Vec<PathBuf> {
        let held = self.partitions_held(spu).into_iter();
        held.filter_map(|(folder, is_whole)| is_whole.then_some(folder))
            .collect()
    }

    /// The folders of an SPU's partitions, and whether all of three or more replicas are in sync.
    fn partitions_held(&self, spu: usize) -> Vec<(PathBuf, bool)> {
        let host = &self.spus[spu];
        let Some(context) = host.serving() else {
            return Vec::new();
        };
        let view = context.view.current();
        let mut held = Vec::new();
        for topic in view.topics.values() {
            for (index, partition) in &topic.partitions {
                let (replicas, isr) = (&partition.replicas, &partition.isr);
                if replicas.contains(&SpuId(host.id())) {
                    let folder = format!("partitions/{}-{index}", topic.id);
                    let is_whole = isr.len() == replicas.len() && isr.len() > 2;
                    held.push((host.data_dir().join(folder), is_whole));
                }
            }
        }
        held
    }

    fn kill(&mut self, sim: &mut Sim<'_>, place: Place) {
        if let Place::Spu(number) = place {
            self.spus[number].killed();
        }
        sim.crash(self.name(place));
        self.down.insert(place);
    }

    fn power_off(&mut self, sim: &mut Sim<'_>, spu: usize) -> anyhow::Result<()> {
        let place = Place::Spu(spu);
        // Nobody hears that its connections are closed.
        let others: Vec<_> = self.places();
        let others = others.into_iter().filter(|other| *other != place);
        let others: BTreeMap<_, _> = others.map(|other| (other, self.name(other))).collect();
        for other in others.values() {
            sim.partition(self.name(place), other.clone());
        }
        self.kill(sim, place);
        for other in others.values() {
            sim.repair(self.name(place), other.clone());
        }
        self.lost_files += self.spus[spu].disk.lose_unsynced()?;
        Ok(())
    }
}
