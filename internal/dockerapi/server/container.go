package server

var containerRoutes = []route{}
