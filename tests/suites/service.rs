//! handshake as a service: what it tells its manager, which capabilities it keeps, and whether it
//! works under the restrictions of `packaging/handshake.service`. Needs root.
#![cfg(target_os = "linux")]

#[path = "service/notify.rs"]
mod notify;
#[path = "service/privileges.rs"]
mod privileges;
#[path = "service/unit.rs"]
mod unit;
