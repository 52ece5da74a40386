use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Params(i64);

fn main() {}
