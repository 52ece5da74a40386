//! TCP as this process sees it: the system's or, with the feature `simulation`, the simulation's.
//!
//! Both have the same types and functions. Nothing above says which of them it runs on.

#[cfg(feature = "simulation")]
mod simulated;
#[cfg(not(feature = "simulation"))]
mod system;

#[cfg(feature = "simulation")]
pub use simulated::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, send, send_file};
#[cfg(not(feature = "simulation"))]
pub use system::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, send, send_file};
