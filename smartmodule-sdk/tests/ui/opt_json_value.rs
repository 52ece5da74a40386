use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Options {
    #[opt(json = "[]")]
    rules: Vec<u32>,
}

fn main() {}
