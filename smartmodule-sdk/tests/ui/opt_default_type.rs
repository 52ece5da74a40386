use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Options {
    #[opt(default = 1.5)]
    limit: u32,
}

fn main() {}
