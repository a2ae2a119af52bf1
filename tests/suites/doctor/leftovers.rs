//! What a killed handshake left on a kernel without TCX.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use handshake_user::interfaces::{list, select};
use handshake_user::loader::{HookChoice, Loader, Options, TcChoice};

use crate::patient::Patient;

#[test]
#[ignore = "run by other tests"]
fn again_attach_as_on_a_kernel_without_tcx() {
    if std::env::var_os("HS_ATTACH").is_none() {
        return;
    }
    let options = Options { hook: HookChoice::Tc, tc: TcChoice::Clsact, ..Options::default() };
    let va = select(&list().unwrap(), &["va".to_owned()]).unwrap().remove(0);
    let mut loader = Loader::load(&options).unwrap();
    loader.attach(&va).unwrap();
    println!("\nattached");
    drop(std::io::stdin().read(&mut [0]));
}

fn attached(patient: &Patient) -> Result<Child> {
    let mut command = patient.namespace.command(std::env::current_exe()?);
    let name = "leftovers::again_attach_as_on_a_kernel_without_tcx";
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("HS_ATTACH", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdout = BufReader::new(child.stdout.take().context("no output")?);
    let is_attached = stdout.lines().map_while(Result::ok).any(|line| line == "attached");
    assert!(is_attached, "it attaches");
    Ok(child)
}

#[test]
fn filters_of_a_killed_handshake_are_named_and_removed_by_the_remedy() -> Result<()> {
    let patient = Patient::with_veth()?;
    let mut child = attached(&patient)?;
    let found = patient.examine("va")?;
    let check = found.check("leftovers", "TC filters");
    check.says("ok", &["of a running handshake", "hs_tc_in pid"]);
    child.kill()?;
    child.wait()?;
    // From another interface's point of view too.
    let found = patient.examine("lo")?;
    assert_eq!(found.code, Some(0), "{found}");
    let check = found.check("leftovers", "TC filters");
    check.says(
        "degraded",
        &["a killed handshake left", "hs_tc_in pid", "ingress of \"va\"", "hs_tc_out pid"],
    );
    patient.follow(&check)?;
    patient.examine("va")?.check("leftovers", "TC filters").says("ok", &["none of ours"]);
    Ok(())
}
