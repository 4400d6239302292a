//! How many modules stay loaded, and what becomes of the others, on the software device. A process has one driver: each test is a process of its own.

use super::*;
use crate::backend::cuda::launch;
use softcuda_driver::control::Control;
use std::process::Command;

/// Adds a number to a word.
const PTX: &str = "
.version 8.0
.target sm_75
.address_size 64
.visible .entry nd_add(.param .align 8 .b8 args[16])
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [args];
    ld.param.u32 %r1, [args+8];
    cvta.to.global.u64 %rd2, %rd1;
    ld.global.u32 %r2, [%rd2];
    add.s32 %r3, %r2, %r1;
    st.global.u32 [%rd2], %r3;
    ret;
}
";

fn in_child(test: &str, defer: &str, body: fn(Control)) {
    const MARK: &str = "NDCUDA_TEST_CASE";
    let name = format!("backend::cuda::modules::tests::{test}");
    if std::env::var_os(MARK).is_some_and(|case| case == *name) {
        return body(Control::load().unwrap());
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(MARK, &name);
    child.env("NDCUDA_SOFT_DEFER", defer).env("NDCUDA_CACHE_DIR", "").env_remove("NDCUDA_JIT");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A device whose modules stay while there are three.
fn three() -> (Modules, Arc<Gpu>, Arc<Pool>) {
    let gpu = Arc::new(Gpu::open(0).unwrap());
    let pool = Arc::new(Pool::new(gpu.clone()).unwrap());
    let mut modules = Modules::new(gpu.clone(), pool.clone()).unwrap();
    modules.keep = 3;
    (modules, gpu, pool)
}

fn text(n: u32) -> Text {
    Text { source: format!("kernel {n}"), body: 0, name: "nd_add".into(), quick: false }
}

fn load(modules: &Modules, n: u32) -> Arc<Module> {
    let module = modules.load(PTX.as_bytes(), "nd_add").unwrap().unwrap();
    modules.keep(&text(n), module)
}

fn add(pool: &Pool, module: &Module, to: u64, n: u32) {
    let bytes = [to, n.into()].iter().flat_map(|w| w.to_ne_bytes()).collect();
    // SAFETY: the kernel takes an address and a number; the word lives until the end of the test.
    unsafe { launch::queue(pool, module.function(), (1, 1), (1, 1), bytes) }.unwrap();
}

#[test]
fn modules_go_once_there_are_too_many() {
    in_child("modules_go_once_there_are_too_many", "0", go);
}

#[test]
fn modules_go_after_their_kernels_have_run() {
    in_child("modules_go_after_their_kernels_have_run", "1", go);
}

/// Twenty kernels run once each, one of them twenty times more: that one stays, and of the others two at most.
fn go(control: Control) {
    let (modules, gpu, pool) = three();
    let word = pool.scratch(4).unwrap();
    gpu.zero(word.address(), 4).unwrap();
    let used = load(&modules, 0);
    let (mut most, mut sum, mut gone) = (0, 0, 0);
    for n in 1..20 {
        let before = control.live().modules;
        let module = load(&modules, n);
        for (module, n) in [(&module, n), (&used, 1000)] {
            add(&pool, module, word.address(), n);
            sum += n;
        }
        drop(module);
        let now = control.live().modules;
        gone += before + 1 - now;
        most = most.max(now);
        assert_eq!(now, modules.loaded.lock().unwrap().len() as u64);
        assert!(Arc::ptr_eq(&modules.find(&text(0)).unwrap(), &used) && modules.find(&text(n)).is_some());
    }
    assert_eq!((most, gone + control.live().modules), (3, 20));
    assert!(gone >= 16, "{gone}");
    // One that is gone is loaded again, beside those in use, however many they are.
    let all: Vec<Arc<Module>> = (1..9).map(|n| load(&modules, n)).collect();
    for module in &all {
        add(&pool, module, word.address(), 1);
    }
    assert_eq!(control.live().modules, 9);
    drop(all);
    let mut got = [0u8; 4];
    launch::Queue::new(gpu, pool.clone()).stage.download(word.address(), &mut got).unwrap();
    assert_eq!(u32::from_ne_bytes(got), sum + 8);
    drop((load(&modules, 20), used));
    assert_eq!(control.live().modules, 2);
    drop(modules);
    assert_eq!(control.live().modules, 0);
}
