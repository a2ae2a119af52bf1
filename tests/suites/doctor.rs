//! `handshake doctor` on broken and odd set-ups: the right finding, and a remedy that works when it
//! is followed to the letter. Needs root.
//!
//! Each test has a network namespace of its own. What needs no root is in `surface/doctor.rs`.

#[path = "doctor/leftovers.rs"]
mod leftovers;
#[path = "doctor/links.rs"]
mod links;
#[path = "doctor/memory.rs"]
mod memory;
#[path = "doctor/neighbours.rs"]
mod neighbours;
#[path = "doctor/patient.rs"]
mod patient;
#[path = "doctor/privileges.rs"]
mod privileges;
