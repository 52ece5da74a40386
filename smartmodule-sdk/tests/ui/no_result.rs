use thalweg_smartmodule::smartmodule;

#[smartmodule(filter)]
fn keep(line: &str) -> bool {
    line.is_empty()
}

fn main() {}
