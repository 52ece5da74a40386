//! How clients reach this SPU: by a flag, by the address that it listens on, or by a file that another
//! system keeps, since the addresses of load balancers and nodes come late and may change.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use thalweg_runtime::TaskGroup;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::mounted_file::{LOOK_INTERVAL, MountedFile, MountedFileError};
use crate::options::SpuOptions;

/// Why clients can't be told where to connect.
#[derive(Debug, thiserror::Error)]
pub enum AdvertiseError {
    /// It listens everywhere.
    #[error(
        "`--listen {address}` means every address of this machine: say with `--advertise HOST:PORT` or `--advertise-file FILE` how clients reach it"
    )]
    EveryAddress {
        /// The address.
        address: SocketAddr,
    },
    /// The file's text is no address.
    #[error(
        "`{text}` in the file that `--advertise-file` names is no address, write HOST:PORT, or :PORT for a port of `--host-ip`"
    )]
    NoAddress {
        /// The text.
        text: String,
    },
    /// The file has a port alone.
    #[error(
        "the file that `--advertise-file` names says `{text}`, a port of this machine: say with `--host-ip` where the machine is reached"
    )]
    NoHost {
        /// The text.
        text: String,
    },
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] MountedFileError),
}

/// Where the address comes from.
#[derive(Debug)]
pub(crate) enum Advertised {
    Fixed(String),
    Kept {
        file: MountedFile,
        host_ip: Option<IpAddr>,
    },
}

impl Advertised {
    pub(crate) fn of(options: &SpuOptions, bound: SocketAddr) -> Result<Self, AdvertiseError> {
        match (&options.advertise_file, &options.advertise) {
            (Some(path), _) => Ok(Self::kept(path, options.host_ip)),
            (None, Some(address)) => Ok(Self::Fixed(address.clone())),
            (None, None) if bound.ip().is_unspecified() => {
                Err(AdvertiseError::EveryAddress { address: bound })
            }
            (None, None) => Ok(Self::Fixed(bound.to_string())),
        }
    }

    fn kept(path: &Path, host_ip: Option<IpAddr>) -> Self {
        Self::Kept {
            file: MountedFile::new(path, "--advertise-file"),
            host_ip,
        }
    }

    /// What has to be waited for, where something may have to be.
    pub(crate) fn waited_for(&self) -> Option<String> {
        match self {
            Self::Fixed(_) => None,
            Self::Kept { file, .. } => Some(file.waited_for()),
        }
    }

    /// The address, once it is known. Cancel-safe.
    pub(crate) async fn wait(&self) -> Result<String, AdvertiseError> {
        match self {
            Self::Fixed(address) => Ok(address.clone()),
            Self::Kept { file, host_ip } => file.wait(|text| address(text, *host_ip)).await,
        }
    }

    /// Keeps `known` at what the file says, until the shutdown. What can't be used is said once, and
    /// what was used before stays.
    pub(crate) fn follow(self, known: watch::Sender<String>, tasks: &TaskGroup) {
        let Self::Kept { file, host_ip } = self else {
            return;
        };
        tasks.spawn("advertised-address", |shutdown| async move {
            let mut looks = tokio::time::interval(LOOK_INTERVAL);
            let mut said = None;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                    _now = looks.tick() => {}
                }
                let read = file.read().await.map_err(AdvertiseError::from);
                match read.and_then(|text| address(&text.unwrap_or_default(), host_ip)) {
                    Ok(Some(address)) if *known.borrow() != address => {
                        info!(address, "this SPU is reached elsewhere from now on");
                        known.send_replace(address);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let error = error.to_string();
                        if said.as_ref() != Some(&error) {
                            warn!(error, "keeping the address that was known before");
                            said = Some(error);
                        }
                    }
                }
            }
        });
    }
}

/// The address that a file's text means; `None` where it is still empty.
fn address(text: &str, host_ip: Option<IpAddr>) -> Result<Option<String>, AdvertiseError> {
    if text.is_empty() {
        return Ok(None);
    }
    let no_address = || AdvertiseError::NoAddress {
        text: text.to_owned(),
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(no_address)?;
    let port = port.parse().map_err(|_| no_address())?;
    let is_a_word = |host: &str| !host.contains([' ', '\n', '\t', '/', ',']);
    match (host, host_ip) {
        (_, _) if port == 0 || !is_a_word(host) => Err(no_address()),
        ("", Some(ip)) => Ok(Some(SocketAddr::new(ip, port).to_string())),
        ("", None) => Err(AdvertiseError::NoHost {
            text: text.to_owned(),
        }),
        (host, _) => Ok(Some(format!("{host}:{port}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)));

    #[test]
    fn an_address_is_given_whole_or_as_a_port_of_the_host() {
        let given = |text, host| address(text, host).unwrap().unwrap();

        assert_eq!(given("spu-0.example:31000", HOST), "spu-0.example:31000");
        assert_eq!(given(":31000", HOST), "10.0.0.7:31000");
        assert_eq!(
            given(":31000", Some("fd00::7".parse().unwrap())),
            "[fd00::7]:31000"
        );
        assert!(address("", HOST).unwrap().is_none());
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for text in [
            "spu-0",
            "spu-0:",
            "spu-0:0",
            "spu-0:70000",
            "a b:1",
            "http://a:1",
        ] {
            let error = address(text, HOST).unwrap_err().to_string();
            assert!(error.contains("write HOST:PORT"), "{text}: {error}");
        }
        let error = address(":31000", None).unwrap_err().to_string();
        assert!(error.contains("--host-ip"), "{error}");
    }
}
