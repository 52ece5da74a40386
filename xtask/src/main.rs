//! Everything behind the README's commands.
fn main() {}
