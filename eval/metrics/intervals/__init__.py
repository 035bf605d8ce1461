"""How sure a figure is: resampling over people, 95 % intervals, paired differences."""
