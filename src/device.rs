//! Devices: which one a program uses, and why.

use crate::backend::cpu::{Cpu, from_environment};
use crate::backend::cuda::{Cuda, emit, probe};
use crate::backend::{Backend, Exe};
use crate::debug;
use crate::error::{Error, Result};
use crate::hash::Fast;
use crate::kernel::{KernelIr, Launch, Step};
use crate::ops::Isa;
use crate::schedule::Plan;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

/// Plans a device keeps.
const PLANS: usize = 1024;
/// Kernels it remembers to have met.
const MET: usize = 4096;

/// A plan whose steps are ready to run.
pub(crate) type Ready = Plan<(Step, Exe)>;

/// Where arrays live and kernels run. Cheap to clone; clones are the same device.
///
/// ```
/// use ndcuda::Device;
/// let dev = Device::default();
/// println!("{dev}: {}", Device::probe());
/// ```
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    id: u32,
    backend: Box<dyn Backend>,
    plans: Mutex<Plans>,
    met: Mutex<HashSet<KernelIr, Fast>>,
}

#[derive(Default)]
struct Plans {
    by_key: HashMap<Box<[u64]>, (Arc<Ready>, u64), Fast>,
    tick: u64,
}

/// What `Device::probe` found: which device `Device::default` takes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The device taken by default.
    pub device: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.device, self.reason)
    }
}

impl Device {
    pub(crate) fn new(backend: Box<dyn Backend>) -> Device {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        if debug::level() >= 1 {
            eprintln!("ndcuda: device {}", backend.name());
        }
        Device(Arc::new(Inner { id, backend, plans: Mutex::default(), met: Mutex::default() }))
    }

    /// The CPU with all its cores (or `NDCUDA_NUM_THREADS`); always the same device.
    ///
    /// # Panics
    /// If `NDCUDA_NUM_THREADS` is no positive number or `NDCUDA_CPU` no instruction set; [`Device::from_env`] and
    /// [`Device::named`] return that as an error.
    pub fn cpu() -> Device {
        match Device::host() {
            Ok(d) => d,
            Err(e) => panic!("{e}"),
        }
    }

    /// [`Device::cpu`], or which variable is wrong.
    fn host() -> Result<Device> {
        static CPU: OnceLock<Result<Device>> = OnceLock::new();
        let open = || {
            Isa::asked()?;
            Ok(Device::new(Box::new(Cpu::new(from_environment()?))))
        };
        CPU.get_or_init(open).clone()
    }

    /// The CPU with a number of threads (from 1 to 1024: what is outside is the nearer of them); a device of its own, with its own memory pool.
    pub fn cpu_with_threads(threads: usize) -> Device {
        Device::new(Box::new(Cpu::new(threads)))
    }

    /// The GPU with this index; always the same device.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] with what is missing and what to do.
    pub fn cuda(index: usize) -> Result<Device> {
        static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(vec![]);
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, device)) = open.iter().find(|d| d.0 == index) {
            return Ok(device.clone());
        }
        let device = Device::new(Box::new(Cuda::open(index)?));
        open.push((index, device.clone()));
        Ok(device)
    }

    /// What a GPU backend needs and what is here of it, a line each: the driver, NVRTC, cuBLAS, with versions and files, or
    /// what is wrong and what to do.
    pub fn cuda_report() -> Vec<(&'static str, String)> {
        probe::report()
    }

    /// The first GPU, if `Device::default` may take it.
    fn best() -> Result<Device, probe::Missing> {
        probe::usable()?;
        Device::cuda(0).map_err(|e| match e {
            Error::DeviceUnavailable { reason, .. } => probe::Missing { reason, installed: true },
            e => probe::Missing { reason: e.to_string(), installed: true },
        })
    }

    /// The device `NDCUDA_DEVICE` names, if it is set to anything.
    fn asked() -> Option<Result<Device>> {
        let name = std::env::var("NDCUDA_DEVICE").ok().filter(|name| !name.trim().is_empty())?;
        Some(Device::named(name.trim()).map_err(|e| match e {
            Error::Config { name: "device", value, reason } => Error::Config { name: "NDCUDA_DEVICE", value, reason },
            e => e,
        }))
    }

    /// The device `NDCUDA_DEVICE` names (`cpu`, `cuda`, `cuda:1`), else the best usable one.
    ///
    /// # Errors
    /// If `NDCUDA_DEVICE` names no device or one that cannot be used, or the CPU is taken and one of its variables is wrong.
    pub fn from_env() -> Result<Device> {
        if let Some(device) = Device::asked() {
            return device;
        }
        Device::best().or_else(|missing| {
            static SAID: Once = Once::new();
            if missing.installed {
                SAID.call_once(|| eprintln!("ndcuda: running on the CPU: {}", missing.reason));
            }
            Device::host()
        })
    }

    /// The device of this name: `cpu`, `cuda` or `cuda:1`.
    ///
    /// # Errors
    /// If there is no such device or it cannot be used.
    pub fn named(name: &str) -> Result<Device> {
        let index = match name.split_once(':') {
            None if name == "cpu" => return Device::host(),
            None if name == "cuda" => Some(0),
            Some(("cuda", n)) => n.parse().ok(),
            _ => None,
        };
        match index {
            Some(i) => Device::cuda(i),
            None => Err(Error::Config {
                name: "device",
                value: name.into(),
                reason: "a device is cpu, cuda or cuda:N".into(),
            }),
        }
    }

    /// Which device [`Device::default`] takes, and why.
    pub fn probe() -> Probe {
        let found = || match Device::asked() {
            Some(device) => {
                let d = device?;
                let name = std::env::var("NDCUDA_DEVICE").unwrap_or_default();
                Ok((d.to_string(), format!("NDCUDA_DEVICE={name}; {}", d.details()?)))
            }
            None => match Device::best() {
                Ok(d) => Ok((d.to_string(), d.details()?)),
                Err(missing) => {
                    let d = Device::host()?;
                    Ok((d.to_string(), format!("{}; {}", d.details()?, missing.reason)))
                }
            },
        };
        let (device, reason) = found().unwrap_or_else(|e: Error| ("none".into(), e.to_string()));
        Probe { device, reason }
    }

    /// A GPU's name, architecture and driver; the CPU's threads and instruction set.
    fn details(&self) -> Result<String> {
        if let Some(cuda) = self.as_cuda() {
            return Ok(probe::describe(cuda.gpu()));
        }
        let isa = match Isa::asked()? {
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Portable => "portable loops",
        };
        Ok(self.as_cpu().map_or(isa.into(), |cpu| format!("{}, {isa}", cpu.describe())))
    }

    fn as_cpu(&self) -> Option<&Cpu> {
        self.backend().as_any().downcast_ref()
    }

    /// The error of an operand that is on `other`. Two CPU devices have one name: their threads and numbers tell them apart.
    pub(crate) fn is_not(&self, op: &'static str, other: &Device) -> Error {
        let same = self.to_string() == other.to_string();
        let name = |d: &Device| match d.as_cpu() {
            Some(cpu) if same => format!("{d} (device {}, {})", d.id(), cpu.describe()),
            _ => d.to_string(),
        };
        Error::Devices { op, lhs: name(self), rhs: name(other) }
    }

    pub(crate) fn as_cuda(&self) -> Option<&Cuda> {
        self.backend().as_any().downcast_ref()
    }

    /// Whether it is the host's processor, whose arrays lie in host memory.
    pub fn is_cpu(&self) -> bool {
        self.backend().is_host()
    }

    /// Waits until everything started on this device has run.
    ///
    /// # Errors
    /// An error of the device.
    pub fn synchronize(&self) -> Result<()> {
        self.backend().synchronize()
    }

    /// Bytes in use by arrays, and bytes kept for reuse.
    pub fn memory(&self) -> (usize, usize) {
        self.backend().memory()
    }

    /// Bytes free on a GPU and bytes it has, whichever program uses the rest; what is kept for reuse here (see [`memory`](Self::memory)) does
    /// not count as free.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] on the CPU; an error of the driver.
    ///
    /// ```
    /// use ndcuda::Device;
    /// match Device::default().memory_info() {
    ///     Ok((free, total)) => assert!(free <= total),
    ///     Err(e) => println!("{e}"), // no GPU
    /// }
    /// ```
    #[doc(alias = "mem_info")]
    #[doc(alias = "cuMemGetInfo")]
    pub fn memory_info(&self) -> Result<(usize, usize)> {
        match self.as_cuda() {
            Some(cuda) => cuda.gpu().free_memory(),
            None => {
                let reason = "only GPUs tell how much memory is free".into();
                Err(Error::DeviceUnavailable { device: self.to_string(), reason })
            }
        }
    }

    /// Gives memory kept for reuse back to the system.
    pub fn trim(&self) {
        self.backend().trim();
    }

    /// Arrays on a GPU may take this many bytes at most (`None`: all there is); beyond it evaluations fail with
    /// [`Error::OutOfMemory`]. What is in use already stays.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] on the CPU, which has no such limit.
    pub fn memory_limit(&self, bytes: Option<usize>) -> Result<()> {
        match self.as_cuda() {
            Some(cuda) => {
                cuda.memory_limit(bytes.unwrap_or(usize::MAX));
                Ok(())
            }
            None => {
                let reason = "only GPUs have a memory limit".into();
                Err(Error::DeviceUnavailable { device: self.to_string(), reason })
            }
        }
    }

    /// Whether products of f32 matrices on a GPU may round their operands to TF32 (10 bits of mantissa): several times as fast on
    /// tensor cores. Off unless asked for; the CPU has none of it.
    pub fn allow_tf32(&self, yes: bool) {
        if let Some(cuda) = self.as_cuda() {
            cuda.allow_tf32(yes);
        }
    }

    /// The median time of `reps` runs of `work` (one at least), after one that is not counted; by the GPU's own clock where it is a GPU.
    ///
    /// # Errors
    /// Whatever `work` or the device fails with.
    ///
    /// ```
    /// use ndcuda::prelude::*;
    /// let dev = Device::cpu();
    /// let x = dev.array(&ndarray::Array1::from_elem(1000, 2.0f32))?;
    /// let time = dev.bench(5, || (&x * 2.0).eval())?;
    /// assert!(time.as_secs() < 10);
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    pub fn bench(&self, reps: usize, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
        work()?;
        let mut times = vec![];
        for _ in 0..reps.max(1) {
            times.push(self.backend().time(&mut work)?);
        }
        times.sort_by(f64::total_cmp);
        Ok(Duration::try_from_secs_f64(times[times.len() / 2]).unwrap_or_default())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// Whether a kernel is one that no plan of this device had before.
    pub(crate) fn is_new(&self, ir: &KernelIr) -> bool {
        let mut met = self.0.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() >= MET {
            met.clear();
        }
        !met.contains(ir) && met.insert(ir.clone())
    }

    /// The plan of this key, and whether it was made now.
    pub(crate) fn plan(&self, key: &[u64], make: impl FnOnce() -> Result<Ready>) -> Result<(Arc<Ready>, bool)> {
        let lock = || self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut plans = lock();
            plans.tick += 1;
            let tick = plans.tick;
            if let Some((plan, used)) = plans.by_key.get_mut(key) {
                *used = tick;
                return Ok((plan.clone(), false));
            }
        }
        // Made without the lock; where two threads make one, the later stays.
        let plan = Arc::new(make()?);
        let mut plans = lock();
        if plans.by_key.len() >= PLANS {
            let mut ages: Vec<u64> = plans.by_key.values().map(|p| p.1).collect();
            ages.sort_unstable();
            let oldest = ages[PLANS / 4];
            plans.by_key.retain(|_, p| p.1 > oldest);
        }
        let tick = plans.tick;
        plans.by_key.insert(key.into(), (plan.clone(), tick));
        Ok((plan, true))
    }
}

/// The device `NDCUDA_DEVICE` names, else the best usable one.
///
/// # Panics
/// If `NDCUDA_DEVICE` names a device that cannot be used; [`Device::from_env`] returns that as an error.
impl Default for Device {
    fn default() -> Device {
        match Device::from_env() {
            Ok(d) => d,
            Err(e) => panic!("{e}"),
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Device {}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.backend().name())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}

/// A kernel's name, as profilers of a GPU show it.
pub(crate) fn kernel_name(ir: &KernelIr) -> String {
    emit::name(ir)
}

/// A kernel's CUDA C++ text, as a GPU runs this launch of it.
pub(crate) fn cuda_source(ir: &KernelIr, launch: &Launch) -> Result<String> {
    emit::source(ir, &emit::pooled(ir, launch))
}
