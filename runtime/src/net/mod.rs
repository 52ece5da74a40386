//! TCP as this process sees it, the system's or, with the feature `simulation`, the simulation's, and TLS
//! on it.
//!
//! Both have the same types and functions. Nothing above says which of them it runs on.

#[cfg(feature = "simulation")]
#[path = "simulated.rs"]
mod socket;
#[cfg(not(feature = "simulation"))]
#[path = "system.rs"]
mod socket;
mod stream;
pub mod tls;

pub use socket::{TcpListener, TcpStream};
pub use stream::{ReadHalf, Stream, WriteHalf, send, send_file};
