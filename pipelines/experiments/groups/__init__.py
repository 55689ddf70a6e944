"""Two people in one picture, each with a category of their own: can it be done?"""
