//! What is put into a module before it is compiled, so that it can be stopped anywhere.
//!
//! Compiled code calls the host's own on the guest's stack, of which a guest may have left next to
//! nothing. A stack that ended there would leave the host's locks taken for ever. And a guest that
//! does nothing but call the host is seldom met in its own code, where alone an interrupt ends it. So
//! there are put:
//!
//! | where | what |
//! |---|---|
//! | each import | a function in its place, which first sees that there is room on the stack |
//! | `unreachable` | the same, as the host makes the error of it |
//! | `memory.copy`, `memory.fill` | the same where they reach out of memory; where they take long, the question whether the call is late |
//! | `memory.grow` | an end where it says that the call is late |
//!
//! Room is seen to by a function that calls itself until it has used [`ROOM_BYTES`]: where there is
//! less, the stack ends in the guest's own code, which holds nothing. It takes more arguments than there are
//! registers for, which are put on the stack, so that a few dozen calls do.

mod function_facts;
#[cfg(test)]
mod tests;

use thalweg_smartmodule_inspect::LoadError;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, Instruction as I, Module, TypeSection,
    ValType,
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, FuncType, FunctionBody, FunctionSectionReader,
    Operator, Parser, Payload, TypeRef, TypeSectionReader,
};

use self::function_facts::{never_returns, uses_memory_as_a_whole};

/// What code compiled from a guarded module is kept apart by from what was compiled before.
pub(crate) const VERSION: u32 = 2;
/// What `memory.grow` gives a guest whose call is late.
pub(crate) const LATE: i32 = -2;

/// What the host's own code may take of a guest's stack. The most is an error with the calls that led
/// to it; `tests/hostile` tries how much that is.
const ROOM_BYTES: i32 = 32 << 10;
/// How many arguments of 16 bytes the function that sees to it takes, which nobody reads.
const PADDING: usize = 64;
/// What a call of it takes at least: the calling conventions of our platforms have at most 8 of them in registers.
const FRAME_BYTES: i32 = (PADDING as i32 - 8) * 16;
/// To copy or fill as much takes longer than to ask whether the call is late.
const LONG_BYTES: i32 = 4096;
/// What a function has more than it had where it needs them: three numbers.
const OWN_LOCALS: (u32, ValType) = (3, ValType::I32);

/// The module with what is to be in it. `wasm` has been validated.
///
/// # Errors
/// When the module has something that validated ones have not.
pub(crate) fn guarded(wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compile = |error: Error| LoadError::Compile {
        reason: error.to_string(),
    };
    let mut guards = Guards::read(wasm).map_err(compile)?;
    let mut module = Module::new();
    guards
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(compile)?;
    Ok(module.finish())
}

/// The types of [`OWN_FUNCTIONS`]: a number from a number and the padding, and nothing from nothing.
const OWN_TYPES: [(&[ValType], &[ValType]); 2] =
    [(&NUMBER_AND_PADDING, &[ValType::I32]), (&[], &[])];
const NUMBER_AND_PADDING: [ValType; 1 + PADDING] = {
    let mut types = [ValType::V128; 1 + PADDING];
    types[0] = ValType::I32;
    types
};
/// What is put behind a module's functions, by their types: one that calls itself as often as it is
/// told, one that sees to room with it, and one that sees to room and traps.
const OWN_FUNCTIONS: [u32; 3] = [0, 1, 1];

/// Where things are in a module, and the next function to come by.
struct Guards {
    types: Vec<FuncType>,
    /// The types of the imported functions.
    imports: Vec<u32>,
    /// The types of the module's own functions.
    functions: Vec<u32>,
    /// Of each of those, whether it never returns.
    never_returns: Vec<bool>,
    next_function: usize,
}

impl Guards {
    fn read(wasm: &[u8]) -> Result<Self, Error> {
        let mut guards = Self {
            types: Vec::new(),
            imports: Vec::new(),
            functions: Vec::new(),
            never_returns: Vec::new(),
            next_function: 0,
        };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for function_type in section.into_iter_err_on_gc_types() {
                        guards.types.push(function_type?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        if let TypeRef::Func(index) = import?.ty {
                            guards.imports.push(index);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for index in section {
                        guards.functions.push(index?);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    guards.never_returns.push(never_returns(&body)?);
                }
                _ => {}
            }
        }
        Ok(guards)
    }

    /// The function that stands in the place of the first import; those of the others follow.
    fn first_stand_in(&self) -> u32 {
        count(&self.imports) + count(&self.functions)
    }

    /// The first of [`OWN_FUNCTIONS`], behind the stand-ins.
    fn use_stack(&self) -> u32 {
        self.first_stand_in() + count(&self.imports)
    }

    fn see_to_room(&self) -> I<'static> {
        I::Call(self.use_stack() + 1)
    }

    /// Traps, with room for it.
    fn trap(&self) -> I<'static> {
        I::Call(self.use_stack() + 2)
    }

    fn function_type(&self, type_index: u32) -> Option<&FuncType> {
        self.types.get(usize::try_from(type_index).ok()?)
    }

    fn param_count(&self, type_index: u32) -> u32 {
        let function_type = self.function_type(type_index);
        function_type.map_or(0, |function_type| count(function_type.params()))
    }

    /// Whether nothing that follows the instruction is ever run.
    fn ends_there(&self, operator: &Operator<'_>) -> bool {
        let Operator::Call { function_index } = *operator else {
            return false;
        };
        let own_index = function_index.checked_sub(count(&self.imports));
        own_index.is_some_and(|index| self.never_returns.get(index as usize) == Some(&true))
    }

    fn add_own_functions(&self, code: &mut CodeSection) {
        let mut use_stack = Function::new([]);
        use_stack.instruction(&I::LocalGet(0));
        use_stack.instruction(&I::If(BlockType::Result(ValType::I32)));
        use_stack.instruction(&I::LocalGet(0));
        use_stack.instruction(&I::I32Const(1));
        use_stack.instruction(&I::I32Sub);
        self.call_use_stack(&mut use_stack);
        // Needed after the call, so that it is kept on the stack.
        use_stack.instruction(&I::LocalGet(0));
        use_stack.instruction(&I::I32Add);
        use_stack.instruction(&I::Else);
        use_stack.instruction(&I::I32Const(0));
        use_stack.instruction(&I::End);
        use_stack.instruction(&I::End);
        code.function(&use_stack);

        let mut see_to_room = Function::new([]);
        see_to_room.instruction(&I::I32Const(ROOM_BYTES / FRAME_BYTES));
        self.call_use_stack(&mut see_to_room);
        see_to_room.instruction(&I::Drop);
        see_to_room.instruction(&I::End);
        code.function(&see_to_room);

        let mut trap = Function::new([]);
        trap.instruction(&self.see_to_room());
        trap.instruction(&I::Unreachable);
        trap.instruction(&I::End);
        code.function(&trap);
    }

    /// Calls it with the number that stands on the stack.
    fn call_use_stack(&self, function: &mut Function) {
        for _ in 0..PADDING {
            function.instruction(&I::V128Const(0));
        }
        function.instruction(&I::Call(self.use_stack()));
    }

    /// Calls the import, with room.
    fn stand_in(&self, import: u32, type_index: u32) -> Function {
        let mut function = Function::new([]);
        function.instruction(&self.see_to_room());
        for param in 0..self.param_count(type_index) {
            function.instruction(&I::LocalGet(param));
        }
        function.instruction(&I::Call(import));
        function.instruction(&I::End);
        function
    }

    /// Ends the call where the number on the stack, which is left there, says that it is late.
    fn end_if_late(&self, function: &mut Function, own: u32) {
        function.instruction(&I::LocalTee(own));
        function.instruction(&I::I32Const(LATE));
        function.instruction(&I::I32Eq);
        function.instruction(&I::If(BlockType::Empty));
        function.instruction(&self.trap());
        function.instruction(&I::End);
        function.instruction(&I::LocalGet(own));
    }

    /// Stands before an instruction that takes a destination, a source or a value, and a length.
    fn before_bulk(&self, function: &mut Function, own: u32, has_source: bool) {
        let (destination, source, bytes) = (own, own + 1, own + 2);
        for local in [bytes, source, destination] {
            function.instruction(&I::LocalSet(local));
        }
        reaches_out(function, destination, bytes);
        if has_source {
            reaches_out(function, source, bytes);
            function.instruction(&I::I32Or);
        }
        function.instruction(&I::If(BlockType::Empty));
        function.instruction(&self.see_to_room());
        function.instruction(&I::End);

        function.instruction(&I::LocalGet(bytes));
        function.instruction(&I::I32Const(LONG_BYTES));
        function.instruction(&I::I32GeU);
        function.instruction(&I::If(BlockType::Empty));
        function.instruction(&I::I32Const(0));
        function.instruction(&I::MemoryGrow(0));
        function.instruction(&I::I32Const(LATE));
        function.instruction(&I::I32Eq);
        function.instruction(&I::If(BlockType::Empty));
        function.instruction(&self.trap());
        function.instruction(&I::End);
        function.instruction(&I::End);

        for local in [destination, source, bytes] {
            function.instruction(&I::LocalGet(local));
        }
    }
}

/// Leaves whether so many bytes at an address reach out of memory.
fn reaches_out(function: &mut Function, address: u32, bytes: u32) {
    function.instruction(&I::LocalGet(address));
    function.instruction(&I::I64ExtendI32U);
    function.instruction(&I::LocalGet(bytes));
    function.instruction(&I::I64ExtendI32U);
    function.instruction(&I::I64Add);
    function.instruction(&I::MemorySize(0));
    function.instruction(&I::I64ExtendI32U);
    function.instruction(&I::I64Const(16));
    function.instruction(&I::I64Shl);
    function.instruction(&I::I64GtU);
}

impl Reencode for Guards {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let is_import = function < count(&self.imports);
        Ok(function + if is_import { self.first_stand_in() } else { 0 })
    }

    /// As it is, since nothing needs to be right with it.
    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        module.section(&utils::custom_section(self, section));
        Ok(())
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_type_section(self, types, section)?;
        for (params, results) in OWN_TYPES {
            types
                .ty()
                .function(params.iter().copied(), results.iter().copied());
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_function_section(self, functions, section)?;
        for import in &self.imports {
            functions.function(*import);
        }
        for own_type in OWN_FUNCTIONS {
            functions.function(count(&self.types) + own_type);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        for (import, type_index) in (0..).zip(&self.imports) {
            code.function(&self.stand_in(import, *type_index));
        }
        self.add_own_functions(code);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let type_index = self.functions.get(self.next_function).copied();
        self.next_function += 1;
        let mut own = type_index.map_or(0, |index| self.param_count(index));
        let mut locals = Vec::new();
        for declared in body.get_locals_reader()? {
            let (declared_count, value_type) = declared?;
            own += declared_count;
            locals.push((declared_count, self.val_type(value_type)?));
        }
        if uses_memory_as_a_whole(&body)? {
            locals.push(OWN_LOCALS);
        }
        let mut function = Function::new(locals);
        let mut operators = body.get_operators_reader()?;
        // Panics are calls of what never returns, with `unreachable` behind them. They stand in loops,
        // which run faster as they are.
        let mut is_behind_the_end = false;
        while !operators.eof() {
            let operator = operators.read()?;
            match operator {
                Operator::Unreachable if !is_behind_the_end => {
                    function.instruction(&self.see_to_room());
                }
                Operator::MemoryCopy { .. } => self.before_bulk(&mut function, own, true),
                Operator::MemoryFill { .. } => self.before_bulk(&mut function, own, false),
                _ => {}
            }
            is_behind_the_end = self.ends_there(&operator);
            let grows = matches!(operator, Operator::MemoryGrow { .. });
            function.instruction(&self.instruction(operator)?);
            if grows {
                self.end_if_late(&mut function, own);
            }
        }
        code.function(&function);
        Ok(())
    }
}

/// How many there are: validated modules have no more than fit.
fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
