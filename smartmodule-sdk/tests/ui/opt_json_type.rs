use thalweg_smartmodule::SmartOpt;

struct Rule;

#[derive(SmartOpt)]
struct Options {
    #[opt(json)]
    rules: Vec<Rule>,
}

fn main() {}
