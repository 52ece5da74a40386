use thalweg_smartmodule::testing::harness;

fn keep() {}

fn make() {
    harness!();
    harness!(keep);
    harness!(keep, 3);
}

fn main() {}
