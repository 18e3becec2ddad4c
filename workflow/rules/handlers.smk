"""What is done before the first job and after the last one, where this is no module of another."""


onstart:
    check_gpus()
    check_slurm()


onsuccess:
    forget_finished_trainings()
