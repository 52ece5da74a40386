//! A network of our own, whose directions can be cut and slowed one by one.
//!
//! Each node has a network namespace with one interface on a bridge, and so has this process, which
//! the clients run in, with the bridge itself. Neighbours are entered by hand: who is cut off from
//! a peer gets a hardware address for it that nobody has, and what it sends is dropped without a
//! word, as by a bad cable. Nothing but `ip` is needed for that, and the other direction stays.

use std::collections::BTreeSet;

use crate::faults::Place;
use crate::sandbox::run;

/// A hardware address that nobody has.
const NOWHERE: &str = "02:00:00:00:ff:ff";

/// The network of one cluster.
#[derive(Debug)]
pub(crate) struct Network {
    places: Vec<Place>,
    slowed: BTreeSet<Place>,
}

impl Network {
    /// Connects the clients, the SC and that many SPUs.
    ///
    /// # Errors
    /// When `ip` can't do it, for example outside of the sandbox.
    pub(crate) fn new(spu_count: i32) -> anyhow::Result<Self> {
        let mut places = vec![Place::Clients, Place::Sc];
        places.extend((0..spu_count).map(Place::Spu));
        // First of all, so that what was made goes if the rest can't be.
        let network = Self {
            places,
            slowed: BTreeSet::new(),
        };
        run(&["ip", "link", "set", "lo", "up"])?;
        let own = hardware_address(Place::Clients);
        run(&[
            "ip", "link", "add", "hub", "address", &own, "type", "bridge",
        ])?;
        let own = format!("{}/24", address(Place::Clients));
        run(&["ip", "address", "add", &own, "dev", "hub"])?;
        run(&["ip", "link", "set", "hub", "up"])?;
        for place in &network.places {
            plug_in(*place)?;
        }
        for from in &network.places {
            for to in network.places.iter().filter(|to| *to != from) {
                set_neighbour(*from, *to, &hardware_address(*to))?;
            }
        }
        Ok(network)
    }

    /// Lets nothing that `from` sends come to `to`.
    ///
    /// # Errors
    /// When `ip` can't do it.
    pub(crate) fn cut(&self, from: Place, to: Place) -> anyhow::Result<()> {
        set_neighbour(from, to, NOWHERE)
    }

    /// Lets everything that `from` sends come to `to` again.
    ///
    /// # Errors
    /// When `ip` can't do it.
    pub(crate) fn mend(&self, from: Place, to: Place) -> anyhow::Result<()> {
        set_neighbour(from, to, &hardware_address(to))
    }

    /// Slows all that `place` sends, and says how: by a delay where the kernel has `netem`, else by
    /// a narrow line, in whose queue everything waits.
    ///
    /// # Errors
    /// When `tc` can do neither.
    pub(crate) fn slow(&mut self, place: Place) -> anyhow::Result<&'static str> {
        self.slowed.insert(place);
        let netem = ["netem", "delay", "60ms", "20ms"];
        if shape(place, &netem).is_ok() {
            return Ok("60 ms late");
        }
        let narrow = ["tbf", "rate", "2mbit", "burst", "16kb", "latency", "300ms"];
        shape(place, &narrow)?;
        Ok("2 Mbit/s")
    }

    /// Takes away what [`Network::slow`] did.
    ///
    /// # Errors
    /// When `tc` can't do it.
    pub(crate) fn hurry(&mut self, place: Place) -> anyhow::Result<()> {
        if !self.slowed.remove(&place) {
            return Ok(());
        }
        in_place(place, &["tc", "qdisc", "del", "dev", device(place), "root"])
    }

    /// Every place.
    #[must_use]
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What can't be removed goes with the sandbox; the next network then fails to be made. The
        // lines first: a namespace takes its own away only when the kernel gets to it.
        for place in &self.places {
            if let Some(namespace) = namespace(*place) {
                let _ = run(&["ip", "link", "del", &port(*place)]);
                let _ = run(&["ip", "netns", "del", &namespace]);
            }
        }
        let _ = run(&["ip", "link", "del", "hub"]);
    }
}

/// The network namespace of a place; `None` for the clients, who are where this process is.
#[must_use]
pub(crate) fn namespace(place: Place) -> Option<String> {
    match place {
        Place::Clients => None,
        Place::Sc => Some("sc".to_owned()),
        Place::Spu(id) => Some(format!("spu-{id}")),
    }
}

/// The IP address of a place.
#[must_use]
pub(crate) fn address(place: Place) -> String {
    format!("10.77.0.{}", host_number(place))
}

fn hardware_address(place: Place) -> String {
    format!("02:00:00:00:00:{:02x}", host_number(place))
}

fn host_number(place: Place) -> i32 {
    match place {
        Place::Clients => 1,
        Place::Sc => 2,
        Place::Spu(id) => 10 + id,
    }
}

fn device(place: Place) -> &'static str {
    if place == Place::Clients {
        "hub"
    } else {
        "eth0"
    }
}

/// The bridge's end of a place's line.
fn port(place: Place) -> String {
    format!("p{}", host_number(place))
}

/// Gives a place its namespace and connects it.
fn plug_in(place: Place) -> anyhow::Result<()> {
    let Some(namespace) = namespace(place) else {
        return Ok(());
    };
    let (port, own) = (port(place), hardware_address(place));
    run(&["ip", "netns", "add", &namespace])?;
    let pair = [
        "ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0",
    ];
    run(&[&pair[..], &["address", &own, "netns", &namespace]].concat())?;
    run(&["ip", "link", "set", &port, "master", "hub", "up"])?;
    in_place(place, &["ip", "link", "set", "lo", "up"])?;
    in_place(
        place,
        &[
            "ip",
            "address",
            "add",
            &format!("{}/24", address(place)),
            "dev",
            "eth0",
        ],
    )?;
    in_place(place, &["ip", "link", "set", "eth0", "up"])
}

fn set_neighbour(from: Place, to: Place, hardware: &str) -> anyhow::Result<()> {
    let entry = [
        "ip",
        "neighbour",
        "replace",
        &address(to),
        "lladdr",
        hardware,
    ];
    in_place(
        from,
        &[&entry[..], &["nud", "permanent", "dev", device(from)]].concat(),
    )
}

fn shape(place: Place, how: &[&str]) -> anyhow::Result<()> {
    let root = ["tc", "qdisc", "replace", "dev", device(place), "root"];
    in_place(place, &[&root[..], how].concat())
}

fn in_place(place: Place, words: &[&str]) -> anyhow::Result<()> {
    match namespace(place) {
        Some(namespace) => run(&[&["ip", "netns", "exec", &namespace], words].concat()),
        None => run(words),
    }
}
