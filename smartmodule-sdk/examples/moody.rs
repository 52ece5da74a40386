//! A filter that does what each value tells it to, to see how the host takes it: `fail`, `panic`,
//! `loop`, `hog` (memory), `recurse`, `log`; it keeps everything else.

use thalweg_smartmodule::{Level, Record, Result, bail, log, smartmodule};

#[smartmodule(filter)]
fn moody(record: &Record) -> Result<bool> {
    match record.value.as_ref() {
        b"fail" => bail!("in no mood for offset {}", record.offset()),
        b"panic" => panic!("in a panic at offset {}", record.offset()),
        b"loop" => spin(),
        b"hog" => Ok(hog() > 0),
        b"recurse" => Ok(recurse(1) > 0),
        b"log" => {
            log!(Level::Warn, "seen {}", record.offset());
            Ok(true)
        }
        _ => Ok(true),
    }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}

fn hog() -> usize {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    std::hint::black_box([depth; 64]).iter().sum::<u64>() + recurse(depth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fails_when_told_to() {
        let error = moody(&Record::new("fail").with_offset(3)).unwrap_err();
        assert_eq!(error.to_string(), "in no mood for offset 3");
        assert!(moody(&Record::new("fine")).unwrap());
    }
}
