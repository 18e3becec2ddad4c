"""What can be known of a run on SLURM before its first job."""

import getpass
import shlex
import shutil

# Options of sbatch by the resource that snakemake-executor-plugin-slurm makes them of.
OF_SBATCH = {
    "slurm_account": "--account",
    "slurm_partition": "--partition",
    "qos": "--qos",
    "constraint": "--constraint",
    "runtime": "--time",
    "mem_mb": "--mem",
    "_cores": "--cpus-per-task",
    "gpu": "--gpus",
    "gres": "--gres",
}
# As the workflow that uses this one as a module may call it.
CANONICAL = workflow.modifier.modify_rulename("canonical")


def check_slurm():
    """Refuse to start where SLURM would not take the jobs, in its own words.

    The executor would say so once for every job and attempt, with a traceback, or wait for ever.
    Jobs that follow a checkpoint are not known yet, and sums of groups are not asked for.
    """
    if workflow.executor_plugin.name != "slurm":
        return
    if not shutil.which("sbatch"):
        refuse(
            "executor 'slurm', and there is no sbatch on PATH: start on a node that submits jobs"
        )
    requests = {}
    for job in workflow.dag.needrun_jobs():
        if not job.is_local:
            requests.setdefault(sbatch_options(job), job.rule.name)
    for options, name in requests.items():
        asked = [*options, *shlex.split("--test-only --wrap true")]
        said = subprocess.run(["sbatch", *asked], capture_output=True, text=True)
        if said.returncode:
            words = "; ".join(said.stderr.strip().splitlines())
            refuse(f"SLURM refuses jobs of {name} ({' '.join(options)}): {words}")
    check_slurm_accounts(job.resources.get("slurm_account") for job in workflow.dag.needrun_jobs())
    check_slurm_status()
    check_groups()


def check_groups():
    """Refuse groups where a checkpoint may add jobs to them.

    When a checkpoint is done, Snakemake (9.27) forms the groups anew: those that run get further
    members and are started again, others keep members that were replaced.
    """
    jobs = workflow.dag.needrun_jobs()
    pending = sorted({job.wildcards.dataset for job in jobs if job.rule.name == CANONICAL})
    unpacks_only = CANONICAL in workflow.dag_settings.until
    if pending and workflow.group_settings.overwrite_groups and not unpacks_only:
        refuse(
            f"jobs are in groups, and the archives of {', '.join(pending)} are yet to be unpacked, on "
            f"which it depends what jobs there are: call it with --until {CANONICAL} first, then again"
        )


def sbatch_options(job):
    """What a job asks of sbatch, without what is known only once its inputs are there."""
    known = {name: value for name, value in job.resources.items() if value and value != "<TBD>"}
    asked = [f"{OF_SBATCH[name]}={known[name]}" for name in OF_SBATCH if name in known]
    return (*asked, *shlex.split(job.resources.get("slurm_extra") or ""))


def check_slurm_accounts(accounts):
    """Refuse an account that is none of the user's, where SLURM keeps accounts.

    The executor compares it with the same list.
    """
    if not shutil.which("sacctmgr"):
        refuse("executor 'slurm', and there is no sacctmgr on PATH, which it asks for accounts")
    command = ["sacctmgr", "-n", "-s", "list", "user", getpass.getuser(), "format=account%256"]
    listed = subprocess.run(command, capture_output=True, text=True).stdout.lower().split()
    for account in set(filter(None, accounts)):
        if listed and account.lower() not in listed:
            refuse(
                f"slurm_account {account!r}: SLURM lists {', '.join(sorted(set(listed)))} for you"
            )


def check_slurm_status():
    """Refuse to ask an accounting that is not there how jobs are doing: it would be for ever."""
    shown = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True).stdout
    keeps_none = re.search(r"^AccountingStorageType\s*=\s*\S*none$", shown, re.MULTILINE)
    if keeps_none and workflow.executor_settings.status_command == "sacct":
        refuse("this SLURM keeps no accounting, which sacct asks: add slurm-status-command: squeue")
