//! The suite: everything a user is promised, on every device, through public items alone.
// `s![1..-1]` counts its end from the back.
#![allow(clippy::reversed_empty_ranges)]

/// Makes a `#[test]` of each function `fn(&Device)` on each device. A device that is not there is named and passed over.
macro_rules! tests_on_devices {
    ($($test:ident)*) => {
        on_device! { cpu: Some(ndcuda::Device::cpu()); $($test)* }
    };
}

macro_rules! on_device {
    ($device:ident: $made:expr; $($test:ident)*) => {
        mod $device {$(
            #[test]
            fn $test() {
                match $made {
                    Some(dev) => super::$test(&dev),
                    None => println!("{} is not here: not tested", stringify!($device)),
                }
            }
        )*}
    };
}

mod cases;
mod dag;
mod distances;
mod exchange;
mod mistakes;
mod naive;
mod promises;
mod reduce;
mod scale;
mod views;
