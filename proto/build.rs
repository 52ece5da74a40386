//! Compiles the .proto files with protox, so that building needs no protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "thalweg/v1/common.proto",
        "thalweg/v1/admin.proto",
        "thalweg/v1/control.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        // Maps that are written in order make equal messages equal bytes.
        .btree_map(".")
        // Leaves out a convenience of clients, also called `connect`, that an RPC of that name
        // collides with.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
