//! Sharing arrays with other CUDA code: a kernel of cudarc's reads an ndcuda array in place, and ndcuda reads what it wrote. Needs a GPU.

use ndcuda::cuda::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use ndcuda::cuda::cudarc::nvrtc::Ptx;
use ndcuda::prelude::*;
use std::error::Error;

/// `out[i] = 2 * x[i] + 1`, as it would come from nvcc, with PTX so that the example needs no compiler.
const KERNEL: &str = r#"
.version 6.3
.target sm_75
.address_size 64

.visible .entry twice_plus_one(.param .u64 out, .param .u64 x, .param .u32 n)
{
    .reg .pred %p<2>;
    .reg .f32 %f<3>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd1, [out];
    ld.param.u64 %rd2, [x];
    ld.param.u32 %r2, [n];
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %ctaid.x;
    mov.u32 %r5, %tid.x;
    mad.lo.s32 %r1, %r4, %r3, %r5;
    setp.ge.u32 %p1, %r1, %r2;
    @%p1 bra DONE;
    cvta.to.global.u64 %rd3, %rd2;
    mul.wide.u32 %rd4, %r1, 4;
    add.s64 %rd5, %rd3, %rd4;
    ld.global.f32 %f1, [%rd5];
    fma.rn.f32 %f2, %f1, 0f40000000, 0f3F800000;
    cvta.to.global.u64 %rd6, %rd1;
    add.s64 %rd7, %rd6, %rd4;
    st.global.f32 [%rd7], %f2;
DONE:
    ret;
}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = match Device::cuda(0) {
        Ok(dev) => dev,
        Err(e) => {
            println!("nothing to show here: {e}");
            return Ok(());
        }
    };
    let (Some(context), Some(stream)) = (dev.cuda_context(), dev.cuda_stream()) else { return Ok(()) };

    // An ndcuda expression, evaluated; the other kernel reads its memory where it is.
    let n = 1000u32;
    let x = dev.arange(0.0f32, n as f32, 1.0).sqrt();
    let at = x.as_device_ptr()?;
    assert_eq!(at.strides(), [1]);

    let kernel = context.load_module(Ptx::from_src(KERNEL))?.load_function("twice_plus_one")?;
    // SAFETY: the kernel writes every element before anyone reads one.
    let out = unsafe { stream.alloc::<f32>(n as usize) }?;
    let address = out.device_ptr(&stream).0;
    let input = at.address();
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&address).arg(&input).arg(&n);
    // SAFETY: the arguments are those of the kernel; both arrays have n elements. On ndcuda's stream it comes after `x` was computed.
    unsafe { launch.launch(LaunchConfig::for_num_elems(n)) }?;

    // Its result as an ndcuda array, without a copy; the CudaSlice lives as long as arrays read it.
    // SAFETY: n elements of f32, written on this device's stream, and no one writes them again.
    let y = unsafe { dev.from_raw::<f32, _>(address, n as usize, out) }?;
    let error = (&y - (&x * 2.0 + 1.0)).abs().max().item()?;
    println!("2 * sqrt(i) + 1 by another kernel on {dev}: off by {error} at most");
    assert!(error <= 1e-5);
    Ok(())
}
