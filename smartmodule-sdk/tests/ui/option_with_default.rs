use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Options {
    #[opt(default = 5)]
    limit: Option<u32>,
}

fn main() {}
