//! Modules and their functions: PTX is parsed, and refused where the played driver or device would refuse it.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use softcuda::{Entry, Loaded};

use crate::abi::{Host, In, Out, entry, lock, put_text};
use crate::attributes::{SHARED_PER_BLOCK, THREADS_PER_BLOCK, occupancy, shared_optin, shared_per_sm};
use crate::code::{Code, Outcome};
use crate::config::Config;
use crate::driver::{Context, current, driver, tables};
use crate::memory::Allocation;
use crate::record;
use crate::stream;

/// A loaded module.
pub struct Image {
    pub handle: usize,
    pub context: Weak<Context>,
    pub program: Loaded,
    /// Variables that copies may name.
    named: Mutex<Vec<u64>>,
    /// The virtual architecture that the PTX names, such as 80.
    target: u32,
    functions: Mutex<HashMap<String, usize>>,
}

/// A kernel of a module.
pub struct Function {
    pub image: Arc<Image>,
    pub entry: Entry,
    name: CString,
    /// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
    dynamic: AtomicI32,
    carveout: AtomicI32,
}

impl Function {
    /// Threads that a block of it may have.
    pub fn max_threads(&self) -> u32 {
        self.entry.max_threads.min(THREADS_PER_BLOCK)
    }

    /// Bytes of shared memory that a launch may ask for.
    pub fn max_dynamic(&self) -> u64 {
        self.dynamic.load(SeqCst).max(0) as u64
    }
}

/// A function by its handle.
pub fn function(handle: usize) -> Result<Arc<Function>, Code> {
    current()?;
    tables()?.functions.get(&handle).cloned().ok_or(Code::INVALID_HANDLE)
}

fn image(handle: usize) -> Result<Arc<Image>, Code> {
    current()?;
    tables()?.modules.get(&handle).cloned().ok_or(Code::INVALID_HANDLE)
}

/// The word after a directive.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.trim().strip_prefix(name))?.split([' ', '\t', ',', ';']).find(|w| !w.is_empty())
}

/// Whether the played driver takes this PTX for the played device, and the architecture that it is for.
fn accept(text: &str, config: &Config) -> Result<u32, (Code, String)> {
    let bad = |what: &str| (Code::INVALID_IMAGE, format!("the image has no {what}: it is no PTX"));
    let version = directive(text, ".version").ok_or_else(|| bad(".version"))?;
    let version: Vec<u32> = version.split('.').filter_map(|p| p.parse().ok()).collect();
    let &[major, minor] = version.as_slice() else { return Err(bad("version number")) };
    if (major, minor) > config.ptx() {
        let (driver, ptx) = (config.driver, config.ptx());
        let text = format!(
            "PTX {major}.{minor} is newer than {}.{}, the newest of driver {}.{}",
            ptx.0, ptx.1, driver.0, driver.1
        );
        return Err((Code::UNSUPPORTED_PTX_VERSION, text));
    }
    let target = directive(text, ".target").ok_or_else(|| bad(".target"))?;
    let arch = target.strip_prefix("sm_").ok_or_else(|| bad("sm_ target"))?;
    let digits = arch.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().map_err(|_| bad("sm_ number"))?;
    let device = config.cc.0 * 10 + config.cc.1;
    // `a` is for one architecture alone, `f` for the later ones of its family too.
    let fits = match &arch[digits.len()..] {
        "a" => number == device,
        "f" => number <= device && number / 10 == device / 10,
        _ => number <= device,
    };
    if !fits {
        return Err((Code::INVALID_PTX, format!("PTX for {target} does not run on a device of sm_{device}")));
    }
    Ok(number)
}

/// Loads what lies at an address: PTX runs here, machine code does not.
fn load(out: Out<usize>, bytes: In<u8>, log: &mut dyn FnMut(&str)) -> Outcome {
    let context = current()?;
    out.check()?;
    let mut head = [0; 4];
    for (i, byte) in head.iter_mut().enumerate() {
        *byte = bytes.at(i)?;
        if *byte == 0 {
            break;
        }
    }
    record::count(|c| c.modules += 1);
    // An ELF file (a cubin) or a fat binary.
    if head == *b"\x7fELF" || u32::from_le_bytes(head) == 0xBA55_ED50 {
        log("softcuda runs PTX alone: a cubin or fat binary has no code for it");
        return Err(Code::NO_BINARY_FOR_GPU);
    }
    let text = In(bytes.0.cast::<c_char>()).text()?;
    let fail = |(code, message): (Code, String), log: &mut dyn FnMut(&str)| {
        eprintln!("softcuda: module refused: {message}");
        log(&message);
        code
    };
    let target = accept(&text, &driver()?.config).map_err(|e| fail(e, log))?;
    let program = context.gpu.load(&text).map_err(|e| fail(e, log))?;
    let mut tables = tables()?;
    let handle = tables.handle();
    let context = Arc::downgrade(&context);
    let image =
        Arc::new(Image { handle, context, program, named: Mutex::default(), target, functions: Mutex::default() });
    tables.modules.insert(handle, image);
    out.set(handle)
}

fn occupied(function: &Function, threads: i32, dynamic: usize) -> Result<u32, Code> {
    let threads = u32::try_from(threads).ok().filter(|&t| t > 0).ok_or(Code::INVALID_VALUE)?;
    if threads > function.max_threads() {
        return Ok(0);
    }
    Ok(occupancy(driver()?.config.cc, threads, u64::from(function.entry.static_shared) + dynamic as u64))
}

/// The dynamic shared memory that a block of some size needs.
type BlockToShared = Option<extern "C" fn(i32) -> usize>;

/// The block size with the most threads on a multiprocessor, the larger one of equals, and the grid that fills the device with it.
fn best_block(function: &Function, of: BlockToShared, dynamic: usize, limit: i32) -> Result<(i32, i32), Code> {
    let config = &driver()?.config;
    let most = if limit > 0 { function.max_threads().min(limit as u32) } else { function.max_threads() };
    let mut best = (0, 0, 0);
    for threads in (32..=most.max(32)).step_by(32).map(|t| t.min(most)) {
        let shared = of.map_or(dynamic, |f| f(threads as i32));
        let blocks = occupied(function, threads as i32, shared)?;
        if blocks * threads >= best.0 && blocks > 0 {
            best = (blocks * threads, threads as i32, (blocks * config.sms) as i32);
        }
    }
    if best.0 == 0 { Err(Code::INVALID_VALUE) } else { Ok((best.2, best.1)) }
}

entry! {
    fn cuModuleLoadData(out: Out<usize>, bytes: In<u8>) {
        load(out, bytes, &mut |_| {})
    }

    fn cuModuleLoadDataEx(out: Out<usize>, bytes: In<u8>, count: u32, options: In<i32>, values: In<Host>) {
        // The buffers for the compiler's log (3, 4) and for its errors (5, 6), each with its size.
        let find = |which| (0..count as usize).find(|&i| options.at(i) == Ok(which)).and_then(|i| values.at(i).ok());
        if let (Some(buffer), Some(len)) = (find(3), find(4)) {
            put_text("", buffer, len.0 as usize);
        }
        load(out, bytes, &mut |message| {
            if let (Some(buffer), Some(len)) = (find(5), find(6)) {
                put_text(message, buffer, len.0 as usize);
            }
        })
    }

    fn cuModuleLoadFatBinary(out: Out<usize>, bytes: In<u8>) {
        load(out, bytes, &mut |_| {})
    }

    fn cuModuleLoad(out: Out<usize>, path: In<c_char>) {
        current()?;
        let mut bytes = std::fs::read(path.text()?).map_err(|_| Code::FILE_NOT_FOUND)?;
        bytes.extend([0; 4]);
        load(out, In(bytes.as_ptr()), &mut |_| {})
    }

    fn cuModuleUnload(handle: usize) {
        let image = image(handle)?;
        let context = image.context.upgrade().ok_or(Code::CONTEXT_IS_DESTROYED)?;
        // Nothing promises that a kernel of it that is under way still runs.
        if stream::has_queued(&context, &image)? {
            eprintln!("softcuda: a module is unloaded before a kernel of it has run");
            context.fail(Code::LAUNCH_FAILED);
        }
        stream::drain_context(&context)?;
        let mut tables = tables()?;
        tables.modules.remove(&handle);
        tables.functions.retain(|_, f| !Arc::ptr_eq(&f.image, &image));
        for address in lock(&image.named).drain(..) {
            tables.allocations.remove(&address);
        }
        drop(tables);
        context.gpu.unload(&image.program);
        Ok(())
    }

    fn cuModuleGetFunction(out: Out<usize>, module: usize, name: In<c_char>) {
        let image = image(module)?;
        let name = name.text()?;
        out.check()?;
        if let Some(&handle) = lock(&image.functions).get(&name) {
            return out.set(handle);
        }
        let entry = image.program.module().entry(&name).cloned().ok_or(Code::NOT_FOUND)?;
        let text = CString::new(name.clone()).map_err(|_| Code::INVALID_VALUE)?;
        let dynamic = SHARED_PER_BLOCK.saturating_sub(entry.static_shared) as i32;
        let mut tables = tables()?;
        let handle = tables.handle();
        let function = Function {
            image: image.clone(),
            entry,
            name: text,
            dynamic: AtomicI32::new(dynamic),
            carveout: AtomicI32::new(-1),
        };
        tables.functions.insert(handle, Arc::new(function));
        lock(&image.functions).insert(name, handle);
        out.set(handle)
    }

    fn cuModuleGetGlobal_v2(address: Out<u64>, size: Out<usize>, module: usize, name: In<c_char>) {
        let image = image(module)?;
        let context = current()?;
        let name = name.text()?;
        let (at, bytes) = image.program.variable(&name).ok_or(Code::NOT_FOUND)?;
        let allocation = Allocation {
            size: bytes,
            context: Arc::downgrade(&context),
            gpu: context.gpu.clone(),
            pool: None,
            owned: false,
        };
        // From here on copies may name it.
        tables()?.allocations.insert(at, allocation);
        lock(&image.named).push(at);
        address.set_if_wanted(at);
        size.set_if_wanted(bytes as usize);
        Ok(())
    }

    fn cuModuleGetFunctionCount(count: Out<u32>, module: usize) {
        count.set(image(module)?.program.module().entries().count() as u32)
    }

    fn cuModuleGetLoadingMode(mode: Out<i32>) {
        // Lazy loading.
        mode.set(2)
    }

    fn cuFuncGetModule(out: Out<usize>, handle: usize) {
        out.set(function(handle)?.image.handle)
    }

    fn cuFuncGetName(out: Out<*const c_char>, handle: usize) {
        out.set(function(handle)?.name.as_ptr())
    }

    fn cuFuncIsLoaded(state: Out<i32>, handle: usize) {
        function(handle)?;
        state.set(1)
    }

    fn cuFuncLoad(handle: usize) {
        function(handle).map(|_| ())
    }

    fn cuFuncGetParamInfo(handle: usize, index: usize, offset: Out<usize>, size: Out<usize>) {
        let function = function(handle)?;
        let param = function.entry.params.get(index).ok_or(Code::INVALID_VALUE)?;
        offset.set_if_wanted(param.offset as usize);
        size.set_if_wanted(param.size as usize);
        Ok(())
    }

    fn cuFuncGetParamCount(handle: usize, count: Out<usize>) {
        count.set(function(handle)?.entry.params.len())
    }

    fn cuFuncGetAttribute(value: Out<i32>, which: i32, handle: usize) {
        let function = function(handle)?;
        let cc = driver()?.config.cc;
        value.set(match which {
            0 => function.max_threads() as i32,
            1 => function.entry.static_shared as i32,
            2 | 7 => 0,
            3 => function.entry.local as i32,
            // The registers that the PTX declares, within what hardware has: only a compiler for it could tell.
            4 => function.entry.registers.min(255) as i32,
            5 => function.image.target as i32,
            6 => (cc.0 * 10 + cc.1) as i32,
            8 => function.dynamic.load(SeqCst),
            9 => function.carveout.load(SeqCst),
            10..=15 => 0,
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    fn cuFuncSetAttribute(handle: usize, which: i32, value: i32) {
        let function = function(handle)?;
        let most = shared_optin(driver()?.config.cc) as i32 - function.entry.static_shared as i32;
        match which {
            8 if (0..=most).contains(&value) => function.dynamic.store(value, SeqCst),
            9 if (-1..=100).contains(&value) => function.carveout.store(value, SeqCst),
            10..=15 => return Err(Code::NOT_SUPPORTED),
            _ => return Err(Code::INVALID_VALUE),
        }
        Ok(())
    }

    fn cuFuncSetCacheConfig(handle: usize, _config: i32) {
        function(handle).map(|_| ())
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: Out<i32>, handle: usize, threads: i32, dynamic: usize) {
        let function = function(handle)?;
        blocks.set(occupied(&function, threads, dynamic)? as i32)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: Out<i32>, handle: usize, threads: i32, dynamic: usize, flags: u32,
    ) {
        if flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        let function = function(handle)?;
        blocks.set(occupied(&function, threads, dynamic)? as i32)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(bytes: Out<usize>, handle: usize, blocks: i32, threads: i32) {
        let function = function(handle)?;
        let cc = driver()?.config.cc;
        if blocks <= 0 || threads <= 0 {
            return Err(Code::INVALID_VALUE);
        }
        let each = shared_per_sm(cc) / blocks as u32;
        let free = each.saturating_sub(crate::attributes::shared_reserved(cc) + function.entry.static_shared);
        bytes.set(free.min(shared_optin(cc) - function.entry.static_shared) as usize)
    }

    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, handle: usize, of: BlockToShared, dynamic: usize, limit: i32,
    ) {
        let function = function(handle)?;
        let (blocks, threads) = best_block(&function, of, dynamic, limit)?;
        grid.set(blocks)?;
        block.set(threads)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, handle: usize, of: BlockToShared, dynamic: usize, limit: i32, _flags: u32,
    ) {
        crate::abi::code(cuOccupancyMaxPotentialBlockSize(grid, block, handle, of, dynamic, limit))
    }

    fn cuOccupancyMaxActiveClusters(clusters: Out<i32>, handle: usize, _config: In<c_void>) {
        function(handle)?;
        clusters.set_if_wanted(0);
        Err(Code::NOT_SUPPORTED)
    }

    fn cuOccupancyMaxPotentialClusterSize(size: Out<i32>, handle: usize, _config: In<c_void>) {
        function(handle)?;
        size.set_if_wanted(0);
        Err(Code::NOT_SUPPORTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ptx(version: &str, target: &str) -> String {
        format!("// a comment\n.version {version}\n.target {target}, debug\n.address_size 64\n")
    }

    #[test]
    fn ptx_is_refused_as_the_played_driver_and_device_refuse_it() {
        let mut config = Config { driver: (12, 4), cc: (9, 0), ..Config::read() };
        let refused = |text: &str, config: &Config| accept(text, config).map_err(|e| e.0);
        assert_eq!(refused(&ptx("8.4", "sm_80"), &config), Ok(80));
        assert_eq!(refused(&ptx("8.5", "sm_80"), &config), Err(Code::UNSUPPORTED_PTX_VERSION));
        assert_eq!(refused(&ptx("8.4", "sm_100"), &config), Err(Code::INVALID_PTX));
        assert_eq!(refused(&ptx("8.4", "sm_90a"), &config), Ok(90));
        assert_eq!(refused("int main() {}", &config), Err(Code::INVALID_IMAGE));
        config.cc = (10, 3);
        assert_eq!(refused(&ptx("8.4", "sm_90a"), &config), Err(Code::INVALID_PTX));
        assert_eq!(refused(&ptx("8.4", "sm_100f"), &config), Ok(100));
        assert_eq!(
            [(13, 5), (12, 9), (12, 6), (11, 8)].map(|driver| Config { driver, ..config.clone() }.ptx()),
            [(9, 5), (8, 8), (8, 5), (7, 8)]
        );
    }
}
