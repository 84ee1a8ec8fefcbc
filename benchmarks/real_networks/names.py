"""What the rows are called by."""

NETS = (
    "digits-mlp",
    "mnist-cnn",
    "mnist-mlp",
    "resnet20",
    "resnet56",
    "stories260k",
    "stories260k@shakespeare",
    "minilm",
    "smollm2-135m",
)
CHOSEN_ON = NETS[:3]  # where the rule of forecasting is chosen
REPORTED_ON = NETS[3:]
OWN = "own"  # the firing rule that a profile takes by itself
RULES = (OWN, "1 RMS", "3 RMS", "10 RMS")
TIMES = (2, 5, 10)  # D'/D
