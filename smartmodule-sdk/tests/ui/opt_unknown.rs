use thalweg_smartmodule::SmartOpt;

#[derive(SmartOpt)]
struct Options {
    #[opt(defualt = 3)]
    limit: u32,
}

fn main() {}
