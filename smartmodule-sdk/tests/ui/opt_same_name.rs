use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Options {
    limit: u32,
    #[opt(name = "limit")]
    bound: u32,
}

fn main() {}
