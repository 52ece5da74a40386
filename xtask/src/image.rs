//! `cargo xtask image`: the container image as an OCI archive, made without a container engine.
//!
//! `k8s/image/layout.sh` lays out the files, here and in the Dockerfile; what an engine would add to
//! them is written here: one layer and its description
//! (<https://github.com/opencontainers/image-spec>, version 1.1). `ctr images import`, `podman load`
//! and `skopeo copy oci-archive:` read the archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::build;
use crate::report::say;
use crate::workspace::{capture, root, run, target};

/// What the image is called where nobody says otherwise. Kubernetes pulls nothing of this host.
pub(crate) const NAME: &str = concat!("localhost/thalweg:", env!("CARGO_PKG_VERSION"));

/// Who the programs run as.
const USER: &str = "65532:65532";
const PATH: &str = "PATH=/usr/bin";

/// Builds the programs and makes the image `name`, as a file in the target folder.
pub(crate) fn make(name: &str) -> Result<PathBuf> {
    build::all_programs()?;
    let file = target().join("thalweg-image.tar");
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    lay_out(&target().join("release"), &files)?;
    let archive = folder.path().join("archive");
    write_archive(&files, name, &archive)?;
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(&archive).arg("-cf").arg(&file);
    run(pack.args(["oci-layout", "index.json", "blobs"]))?;
    let mebibytes = fs::metadata(&file)?.len() >> 20;
    say(&format!(
        "The image {name} is in {} ({mebibytes} MiB).",
        file.display()
    ));
    Ok(file)
}

fn lay_out(programs: &Path, files: &Path) -> Result<()> {
    let script = root().join("k8s/image/layout.sh");
    run(Command::new(script).arg(programs).arg(files))
}

/// Writes the folder that an OCI archive holds.
fn write_archive(files: &Path, name: &str, archive: &Path) -> Result<()> {
    let blobs = archive.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer_file = archive.join("layer");
    let mut pack = Command::new("tar");
    // Nothing of this machine or hour, so that the same files make the same layer.
    pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    pack.args(["--mtime=@0", "-cf"]).arg(&layer_file);
    run(pack.arg("-C").arg(files).arg("."))?;
    let layer = Blob::of(&layer_file)?;
    fs::rename(&layer_file, blobs.join(&layer.sha256))?;

    let config = Blob::write(&blobs, &config(&layer))?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.described("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.described("application/vnd.oci.image.layer.v1.tar")],
    });
    let manifest = Blob::write(&blobs, &manifest)?;
    let mut entry = manifest.described("application/vnd.oci.image.manifest.v1+json");
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    entry["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    fs::write(archive.join("index.json"), index.to_string())?;
    let layout = json!({"imageLayoutVersion": "1.0.0"});
    Ok(fs::write(archive.join("oci-layout"), layout.to_string())?)
}

/// How a container of the image is started. The Dockerfile says the same.
fn config(layer: &Blob) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": USER,
            "Env": [PATH],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "thalweg",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.sha256)]},
    })
}

/// Bytes that are named by what they are.
struct Blob {
    sha256: String,
    size_bytes: u64,
}

impl Blob {
    fn of(path: &Path) -> Result<Self> {
        let sum = capture(Command::new("sha256sum").arg(path))?;
        let sha256 = sum.split_whitespace().next();
        Ok(Self {
            sha256: sha256.context("`sha256sum` says no sum")?.to_owned(),
            size_bytes: fs::metadata(path)?.len(),
        })
    }

    fn write(blobs: &Path, content: &Value) -> Result<Self> {
        let file = blobs.join("new");
        fs::write(&file, content.to_string())?;
        let blob = Self::of(&file)?;
        fs::rename(file, blobs.join(&blob.sha256))?;
        Ok(blob)
    }

    fn described(&self, media_type: &str) -> Value {
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{}", self.sha256),
            "size": self.size_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dockerfile() -> String {
        fs::read_to_string(root().join("k8s/image/Dockerfile")).unwrap()
    }

    /// A folder with something to run by each of the programs' names.
    fn programs(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::copy("/usr/bin/tar", folder.path().join(name)).unwrap();
        }
        folder
    }

    const PROGRAMS: [&str; 4] = ["thalweg", "thalweg-sc", "thalweg-spu", "thalweg-operator"];

    fn names(listing: &[u8]) -> Vec<String> {
        let mut names: Vec<_> = std::str::from_utf8(listing)
            .unwrap()
            .lines()
            .map(|name| name.trim_start_matches("./").to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_image_holds_the_programs_their_libraries_and_what_they_read() {
        let (programs, folder) = (programs(&PROGRAMS), tempfile::tempdir().unwrap());
        let (files, archive) = (folder.path().join("files"), folder.path().join("archive"));

        lay_out(programs.path(), &files).unwrap();
        write_archive(&files, "localhost/thalweg:t", &archive).unwrap();

        let read = |path: &str| -> Value {
            serde_json::from_slice(&fs::read(archive.join(path)).unwrap()).unwrap()
        };
        let blob = |entry: &Value| {
            let digest = entry["digest"].as_str().unwrap();
            format!("blobs/{}", digest.replace(':', "/"))
        };
        let manifest = read(&blob(&read("index.json")["manifests"][0]));
        let config = read(&blob(&manifest["config"]));
        assert_eq!(config["config"]["User"], USER);
        assert!(config["config"].get("Entrypoint").is_none());
        let layer = archive.join(blob(&manifest["layers"][0]));
        let listed = Command::new("tar").arg("-tf").arg(layer).output().unwrap();
        let held = names(&listed.stdout);
        for program in PROGRAMS {
            assert!(held.contains(&format!("usr/bin/{program}")), "{held:?}");
        }
        for file in ["etc/ssl/certs/ca-certificates.crt", "etc/passwd", "tmp/"] {
            assert!(held.contains(&file.to_owned()), "no {file} in {held:?}");
        }
        assert!(held.iter().any(|name| name.contains("libc.so")), "{held:?}");
        assert!(!held.iter().any(|name| name.ends_with("/sh")), "{held:?}");
    }

    #[test]
    fn the_same_files_make_the_same_image() {
        let (programs, folder) = (programs(&PROGRAMS), tempfile::tempdir().unwrap());
        let index_of = |attempt: &str| {
            let files = folder.path().join(format!("{attempt}-files"));
            let archive = folder.path().join(format!("{attempt}-archive"));
            lay_out(programs.path(), &files).unwrap();
            write_archive(&files, NAME, &archive).unwrap();
            fs::read_to_string(archive.join("index.json")).unwrap()
        };

        assert_eq!(index_of("first"), index_of("second"));
    }

    #[test]
    fn a_program_that_was_not_built_is_named() {
        let (programs, folder) = (programs(&PROGRAMS[..3]), tempfile::tempdir().unwrap());

        let script = root().join("k8s/image/layout.sh");
        let output = Command::new(script)
            .args([programs.path(), folder.path()])
            .output()
            .unwrap();

        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(errors.contains("no thalweg-operator in"), "{errors}");
    }

    #[test]
    fn the_dockerfile_lays_out_the_same_files_and_starts_them_alike() {
        let dockerfile = dockerfile();
        let (build, image) = dockerfile.split_once("FROM scratch\n").unwrap();

        assert!(build.contains("k8s/image/layout.sh target/release /image"));
        let instructions: Vec<_> = image.lines().collect();
        assert_eq!(
            instructions,
            [
                "COPY --from=build /image /",
                &format!("ENV {PATH}"),
                &format!("USER {USER}"),
                "HEALTHCHECK NONE",
            ]
        );
    }

    #[test]
    fn the_dockerfile_builds_with_the_compiler_that_the_sources_name() {
        let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
        let channel = toolchain.split('"').nth(1).unwrap();
        let (version, _patch) = channel.rsplit_once('.').unwrap();

        assert!(dockerfile().contains(&format!("FROM rust:{version}-bookworm AS build")));
    }
}
