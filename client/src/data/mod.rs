//! The data protocol, from the client's side: connections, requests, who leads what.

mod error;

pub use error::RequestError;
