use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Options {
    #[opt(name = "")]
    limit: u32,
}

fn main() {}
