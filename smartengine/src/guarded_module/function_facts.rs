//! What is to be known of a function before guards are put into it.

use wasm_encoder::reencode::Error;
use wasmparser::{FunctionBody, Operator};

/// Whether a function neither comes to its end nor leaves before.
pub(super) fn never_returns(body: &FunctionBody<'_>) -> Result<bool, Error> {
    let mut depth = 0;
    let mut ends_unreachable = false;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        let leaves = match &operator {
            Operator::Return => true,
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                *relative_depth == depth
            }
            Operator::BrTable { targets } => {
                let mut leaves = targets.default() == depth;
                for target in targets.targets() {
                    leaves |= target? == depth;
                }
                leaves
            }
            _ => false,
        };
        if leaves {
            return Ok(false);
        }
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
            Operator::End if depth == 0 => return Ok(ends_unreachable),
            Operator::End => depth -= 1,
            _ => {}
        }
        ends_unreachable = depth == 0 && matches!(operator, Operator::Unreachable);
    }
    Ok(false)
}

/// Whether there is an instruction that needs local variables of ours.
pub(super) fn uses_memory_as_a_whole(body: &FunctionBody<'_>) -> Result<bool, Error> {
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        if let Operator::MemoryCopy { .. }
        | Operator::MemoryFill { .. }
        | Operator::MemoryGrow { .. } = operators.read()?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    #[test]
    fn only_what_can_not_be_left_never_returns() {
        let never = |code: &str| {
            let text = format!("(module (func (param i32) {code}))");
            let wasm = wasmer::wat2wasm(text.as_bytes()).unwrap();
            let mut payloads = Parser::new(0).parse_all(&wasm);
            payloads.any(|payload| match payload.unwrap() {
                Payload::CodeSectionEntry(body) => never_returns(&body).unwrap(),
                _ => false,
            })
        };

        assert!(never("unreachable"));
        assert!(never("(block (br_if 0 (local.get 0))) unreachable"));
        assert!(!never(""));
        assert!(!never("(block unreachable)"));
        assert!(!never("(br_if 0 (local.get 0)) unreachable"));
        assert!(!never("(block (br_if 1 (local.get 0))) unreachable"));
        assert!(!never("(block (br_table 0 1 0 (local.get 0))) unreachable"));
        assert!(!never("(if (local.get 0) (then return)) unreachable"));
    }
}
