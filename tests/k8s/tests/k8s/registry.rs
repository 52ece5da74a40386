//! The reference implementation of an OCI registry, with a password, and the tool that users push with.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use thalweg_tests_k8s::eventually;

/// What opens the registry.
pub(crate) const USER: &str = "acme";
pub(crate) const PASSWORD: &str = "secret";

/// bcrypt of [`PASSWORD`], as `htpasswd -B` writes it.
const PASSWORD_HASH: &str = "$2a$04$0iikY7DdRIHRMC2SWimH/OoL2cOvmVDt06FOnP7V5TQg/jpmXR8Sa";

/// A registry on this machine, until it is dropped.
pub(crate) struct Registry {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        // It takes no port 0: one that is free now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let address = address.unwrap().to_string();
        let passwords = folder.path().join("passwords");
        std::fs::write(&passwords, format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\n\
             storage: {{inmemory: {{}}}}\n\
             http: {{addr: \"{address}\"}}\n\
             auth: {{htpasswd: {{realm: tests, path: {}}}}}\n",
            passwords.display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("registry")
            .args(["serve"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a registry is in the path of a run's tests");
        let registry = Self {
            process,
            address,
            _folder: folder,
        };
        eventually("a registry that listens", async || {
            std::net::TcpStream::connect(&registry.address).ok()
        })
        .await;
        registry
    }

    /// `host:port` of it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Pushes an artifact with one layer.
    pub(crate) fn push(&self, artifact: &str, file: &Path, media_type: &str) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let output = Command::new("oras")
            .args([
                "push",
                "--plain-http",
                "--username",
                USER,
                "--password",
                PASSWORD,
            ])
            .arg(format!("{}/{artifact}", self.address))
            .arg(format!("{name}:{media_type}"))
            .current_dir(file.parent().unwrap())
            .output()
            .expect("oras is in the path of a run's tests");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "oras push {artifact}: {stderr}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
