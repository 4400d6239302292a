//! The device that the programs of this package run on.

use ndcuda::{Device, Error};

/// The device of `--device`, else of the environment.
pub fn device(option: Option<&str>) -> ndcuda::Result<Device> {
    let Some(name) = option else { return Device::from_env() };
    Device::named(name).map_err(|e| match e {
        Error::Config { name: "device", value, reason } => Error::Config { name: "--device", value, reason },
        e => e,
    })
}
