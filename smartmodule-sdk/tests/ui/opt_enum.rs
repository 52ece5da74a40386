use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
enum Unit {
    Minutes,
}

fn main() {}
