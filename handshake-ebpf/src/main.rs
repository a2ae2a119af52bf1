//! The doors: one program per hook and kind of link, all over the same `observe`.
//!
//! Every program passes every packet on (`XDP_PASS`, `TC_ACT_UNSPEC`), whatever it meets; nothing
//! here drops, alters or delays. Which of them is attached where, is the loader's business. They are
//! inlined into their entry points: as functions of their own, each packet costs 10 ns more.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod context;
mod emit;
mod maps;
mod observe;

use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use handshake_common::abi::Hook;
use handshake_common::packet::ethernet::Link;

use observe::observe;

/// XDP, links with an Ethernet header.
#[xdp]
#[inline(always)]
fn hs_xdp(ctx: XdpContext) -> u32 {
    observe(&ctx, Hook::Xdp, Link::Ethernet);
    XDP_PASS
}

/// XDP, links that start with IP (generic mode on tun, WireGuard).
#[xdp]
#[inline(always)]
fn hs_xdp_ip(ctx: XdpContext) -> u32 {
    observe(&ctx, Hook::Xdp, Link::Ip);
    XDP_PASS
}

/// TC ingress, links with an Ethernet header.
#[classifier]
#[inline(always)]
fn hs_tc_in(ctx: TcContext) -> i32 {
    observe(&ctx, Hook::TcIngress, Link::Ethernet);
    TC_ACT_UNSPEC
}

/// TC ingress, links that start with IP.
#[classifier]
#[inline(always)]
fn hs_tc_in_ip(ctx: TcContext) -> i32 {
    observe(&ctx, Hook::TcIngress, Link::Ip);
    TC_ACT_UNSPEC
}

/// TC egress, links with an Ethernet header.
#[classifier]
#[inline(always)]
fn hs_tc_out(ctx: TcContext) -> i32 {
    observe(&ctx, Hook::TcEgress, Link::Ethernet);
    TC_ACT_UNSPEC
}

/// TC egress, links that start with IP.
#[classifier]
#[inline(always)]
fn hs_tc_out_ip(ctx: TcContext) -> i32 {
    observe(&ctx, Hook::TcEgress, Link::Ip);
    TC_ACT_UNSPEC
}

/// Ring buffers and `bpf_ktime_get_boot_ns` are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Loops, so that the verifier refuses a program in which anything can panic.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
