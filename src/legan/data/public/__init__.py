"""Public data sets in the folder layouts that their authors publish, one file a data set."""
