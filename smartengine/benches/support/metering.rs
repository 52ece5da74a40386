//! A middleware that counts a guest's instructions and traps when it has used up what it was given.
//!
//! For measuring what counting costs: every run of instructions without a branch is paid for at its
//! end, out of a global that the host sets.

use std::sync::{Arc, OnceLock};

use wasmer::sys::wasmparser::{BlockType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareReaderState, ModuleMiddleware};
use wasmer_types::{
    ExportIndex, GlobalIndex, GlobalInit, GlobalType, LocalFunctionIndex, MiddlewareError,
    ModuleInfo, Mutability, Type,
};

/// The global that holds how many instructions are left.
pub(crate) const POINTS: &str = "points";

#[derive(Debug, Default)]
pub(crate) struct Metering {
    points: Arc<OnceLock<GlobalIndex>>,
}

#[derive(Debug)]
struct Counting {
    points: GlobalIndex,
    /// The instructions since the last payment.
    run: i64,
}

impl ModuleMiddleware for Metering {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(Counting {
            points: *self.points.get().unwrap(),
            run: 0,
        })
    }

    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        let points = info
            .globals
            .push(GlobalType::new(Type::I64, Mutability::Var));
        info.global_initializers
            .push(GlobalInit::I64Const(i64::MAX));
        info.exports
            .insert(POINTS.to_owned(), ExportIndex::Global(points));
        self.points.set(points).unwrap();
        Ok(())
    }
}

impl<'a> FunctionMiddleware<'a> for Counting {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        self.run += 1;
        let branches = matches!(
            operator,
            Operator::Loop { .. }
                | Operator::End
                | Operator::If { .. }
                | Operator::Else
                | Operator::Br { .. }
                | Operator::BrIf { .. }
                | Operator::BrTable { .. }
                | Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::Return
        );
        if branches {
            let global_index = self.points.as_u32();
            let value = std::mem::take(&mut self.run);
            state.extend(&[
                Operator::GlobalGet { global_index },
                Operator::I64Const { value },
                Operator::I64LtS,
                Operator::If {
                    blockty: BlockType::Empty,
                },
                Operator::Unreachable,
                Operator::End,
                Operator::GlobalGet { global_index },
                Operator::I64Const { value },
                Operator::I64Sub,
                Operator::GlobalSet { global_index },
            ]);
        }
        state.push_operator(operator);
        Ok(())
    }
}
