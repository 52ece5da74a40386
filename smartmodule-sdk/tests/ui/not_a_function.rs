use thalweg_smartmodule::smartmodule;

#[smartmodule(filter)]
struct Keep;

fn main() {}
