//! A real node that reaches nobody.
//!
//! Tests on real nodes run as root and inside of their network, where each node hangs on a link.

use std::process::Command;

use super::Alone;

impl Alone {
    /// Cuts a real node off from all others and from the control plane, until the answer is dropped.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn cut_off(&self, node: usize) -> CutOff {
        let cut_off = CutOff {
            link: format!("node{node}"),
        };
        cut_off.set("down");
        cut_off
    }
}

/// A node that reaches nobody, until this is dropped.
#[derive(Debug)]
pub struct CutOff {
    link: String,
}

impl CutOff {
    fn set(&self, state: &str) {
        let status = Command::new("ip")
            .args(["link", "set", &self.link, state])
            .status()
            .expect("real nodes need `ip`");
        assert!(status.success(), "`{}` can't be set {state}", self.link);
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        self.set("up");
    }
}
