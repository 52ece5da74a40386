use thalweg_smartmodule::SmartOpt;

struct NotText;

#[derive(SmartOpt)]
struct Params {
    good: i64,
    bad: NotText,
}

fn main() {}
